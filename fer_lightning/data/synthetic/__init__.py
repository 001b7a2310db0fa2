"""Faces drawn by the program, for a first run without data."""
