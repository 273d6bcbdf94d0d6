"""Families of known mistakes as patterns of source: what the catalogue warns of, made anywhere in a twin's files."""
