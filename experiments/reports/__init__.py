"""Runs and checks as tables, figures and pages."""
