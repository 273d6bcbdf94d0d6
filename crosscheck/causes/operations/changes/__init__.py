"""Changes of one operation, by kind: what each might have been on the other side."""
