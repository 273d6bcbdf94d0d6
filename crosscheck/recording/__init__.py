"""Recordings of one side: every tensor that enters or leaves a module, kept in memory or in a file."""
