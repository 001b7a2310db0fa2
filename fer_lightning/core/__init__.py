"""Errors, suggestions, atomic writes and imports, used everywhere."""
