"""Flax models of Hugging Face transformers 4 compared with their torch twins: ports that nobody here wrote."""
