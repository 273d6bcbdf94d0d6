"""The registry's twins: built as pairs, checked as a suite, and compared with outside oracles."""
