"""Training runs compared step by step, and why they diverge."""
