"""Convert weights between file formats, and verify the result."""
