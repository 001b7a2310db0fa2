"""Writes a trained model for other programs, and checks that it gives the same probabilities there."""
