"""Checks of a composed configuration and the vocabulary of Hydra's overrides."""
