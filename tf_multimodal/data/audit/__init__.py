"""A report on a data set before anything is trained on it."""
