"""One reader for each kind of source; `raw_rows.Reader` says what they offer."""
