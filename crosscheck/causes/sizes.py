"""Sizes of gaps that rounding makes."""

LARGEST_ROUNDING = 2.0**-12  # derived: half of float32's digits
FLOAT32_GAP = 64 * 2.0**-24  # derived: float32 roundoff, times the roundings in a short computation
SAME_SIZE = 8.0  # honest rounding errors differ by small factors, precisions differ by thousands
