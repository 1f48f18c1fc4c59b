"""What the fuzz tests share: values of hypothesis, and a pass over the rows."""

import collections
import dataclasses
import json

import hypothesis
import numpy as np
from hypothesis import strategies as st

from tf_multimodal.data import spec
from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.data.pipeline import make_train_dataset

BATCH = 25


def draw_blocks(strategy, blocks, size):
    """Draws the same values in every run: `blocks` lists of `size`."""
    drawn = []

    @hypothesis.settings(
        max_examples=blocks,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.lists(strategy, min_size=size, max_size=size))
    def collect(values):
        drawn.extend(values)

    collect()
    return drawn


def train_one_pass(source, rows, config, preprocessor, path):
    """Trains on some rows once each; the last batch begins the next pass.

    Args:
        source: the rows.
        rows: int64, which of them.
        config: the whole configuration.
        preprocessor: of the model.
        path: where the rows are named that cannot be used.

    Returns:
        How often each row counted in the loss, and the lines of the file.
    """
    config.train.batch_size = BATCH
    weights = np.zeros(len(source), np.float32)
    weights[rows] = np.arange(len(rows)) + 1  # a weight tells which row it is of
    source = dataclasses.replace(source, weights=weights)
    dropped = DroppedRows(source, 1.0, len(rows), path)
    dropped.record_left_out()
    batches = make_train_dataset(source, rows, preprocessor, config, dropped=dropped)
    trained = collections.Counter()
    for x, _, weights in batches.take(-(-len(rows) // BATCH)):
        assert np.isfinite(x[spec.IMAGES]).all()
        numbers = weights.numpy()[weights.numpy() > 0].astype(int) - 1
        trained.update(rows[numbers].tolist())
    # Not `splitlines`: a text may hold other ends of lines, U+2028 say.
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    return trained, [json.loads(line) for line in lines]
