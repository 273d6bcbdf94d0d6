"""Pretrained models of Hugging Face: their configs, the names of their weights, and their folders, as data."""
