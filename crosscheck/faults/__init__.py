"""Faults planted one at a time in either twin: every one must be caught and located, and equivalents must pass."""
