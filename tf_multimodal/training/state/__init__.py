"""The state of a run: all that it takes to go on as if nothing had happened."""
