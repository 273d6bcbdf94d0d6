"""Mutants: small mistakes, planted alike in both twins or in shared code, that some test must notice."""
