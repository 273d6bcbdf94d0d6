"""Arrays that are read when needed, and tables of foreign names over them."""
