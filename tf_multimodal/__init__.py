"""Classifies an image together with the text beside it."""

__version__ = "0.1.0"
