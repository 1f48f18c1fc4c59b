"""Any source as sharded TFRecord files, with images that are scaled down once.

The files are those of a `Plan` (`index.py`): a fixed range of rows for each shard, so
that the same rows give the same bytes, however often and wherever they are written.
"""
