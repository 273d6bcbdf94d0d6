"""The kernel of a GRU layer under test: random layers against float64, planted faults, delays, shared cards."""
