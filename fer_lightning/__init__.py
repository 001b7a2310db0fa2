"""Train, judge and use facial-expression recognisers."""

__version__ = "0.2.0"
