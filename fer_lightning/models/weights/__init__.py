"""Weights from elsewhere: found on a hub, read from the files people keep them in, fitted to a network."""
