"""Kills runs at random moments, and compares how they end with one left alone."""
