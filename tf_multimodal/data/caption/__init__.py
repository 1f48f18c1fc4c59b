"""Texts for images that have none, written by an image-to-text model."""
