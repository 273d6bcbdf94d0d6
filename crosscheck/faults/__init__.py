"""Faults planted one at a time in either twin: each must be caught and located, and equivalents must pass."""
