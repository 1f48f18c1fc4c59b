"""The report of a run: what it learned, where it errs, and in pictures why."""
