"""The registry's twins: built as pairs, checked as a suite, held against outside oracles."""
