"""The score of the checks on planted faults, beside what other projects accept."""
