"""Decoded images and their table, kept between runs."""
