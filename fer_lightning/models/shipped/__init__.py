"""Trained models that come with the package, a folder each, as `export format=release` writes them."""
