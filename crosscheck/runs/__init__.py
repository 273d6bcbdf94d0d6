"""Compares training runs step by step, and explains why they diverge."""
