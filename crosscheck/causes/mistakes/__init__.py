"""Families of known mistakes as source patterns, which can be planted anywhere in a twin's files."""
