"""Theory studies: what the courses ask, answered in both frameworks."""
