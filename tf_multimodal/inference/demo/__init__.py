"""A page on this machine to try a trained run on: `python -m …inference.demo`."""
