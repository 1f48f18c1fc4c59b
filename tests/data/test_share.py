"""Each worker makes its rows of the global batch: together they are the whole one."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import pipeline, spec
from tf_multimodal.data.dropped import DroppedRows, TooManyBadRows
from tf_multimodal.data.share import Share

SHARES = [Share(0, 2), Share(2, 3), Share(3, 4)]  # uneven, of batches of four


class Watched:
    """A column that notes which rows are read."""

    def __init__(self, values):
        self.values, self.read = np.asarray(values, object), []

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        if not isinstance(index, slice):
            self.read += np.atleast_1d(index).tolist()
        return self.values[index]


@pytest.fixture
def random_config(config):
    config.augment.crop = "resized"
    config.augment.flip = True
    for key in ("brightness", "contrast", "saturation"):
        config.augment[key] = 0.1
    for key in ("token_drop", "drop_image", "drop_text"):
        config.augment[key] = 0.3
    return config


def take(dataset, count=None):
    return list(dataset.take(-1 if count is None else count).as_numpy_iterator())


def assert_joined(parts, whole):
    """Batches of all shares, put together row by row, are the whole ones."""
    for number, batch in enumerate(whole):
        joined = tf.nest.map_structure(
            lambda *rows: np.concatenate(rows), *(part[number] for part in parts)
        )
        tf.nest.map_structure(np.testing.assert_array_equal, joined, batch)


def test_shares_are_slices_of_the_batch_with_all_that_is_drawn(
    make_source, make_preprocessor, random_config
):
    source = make_source(10)
    captions = [[f"word{i}", f"other{i}", f"third{i}"] for i in range(10)]
    source = dataclasses.replace(source, captions=np.array(captions, object))

    def make(share):
        dataset = pipeline.make_train_dataset(
            source, np.arange(10), make_preprocessor(), random_config, share=share
        )
        return take(dataset, 8)

    whole = make(None)
    parts = [make(share) for share in SHARES]
    assert [part[0][1].shape for part in parts] == [(2,), (1,), (1,)]
    assert_joined(parts, whole)
    assert any(not batch[0][spec.HAS_TEXT].all() for batch in whole)  # it was drawn


def test_a_worker_reads_its_own_rows_alone(make_source, make_preprocessor, config):
    source = make_source(8)
    reads = []
    for share in SHARES:
        texts = Watched(source.texts)
        watched = dataclasses.replace(source, texts=texts)
        texts.read.clear()
        dataset = pipeline.make_train_dataset(
            watched, np.arange(8), make_preprocessor("text"), config, share=share
        )
        list(dataset.take(2))
        reads.append(texts.read[: 2 * share.size])  # more may be read ahead
    assert sorted(sum(reads, [])) == list(range(8))  # each row of the pass once


def test_skipped_batches_are_left_out(make_source, make_preprocessor, config):
    def make(**options):
        dataset = pipeline.make_train_dataset(
            make_source(10), np.arange(10), make_preprocessor(), config, **options
        )
        return take(dataset, 5)

    whole, found = make(), make(skipped={1, 3})
    for batch, expected in zip(found, (0, 2, 4), strict=False):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, whole[expected])
    resumed = make(start_step=2, skipped=frozenset({1, 3}))
    tf.nest.map_structure(np.testing.assert_array_equal, resumed[0], found[1])


@pytest.mark.parametrize("count", [4, 5, 7, 9])
def test_evaluation_counts_each_row_once(make_source, make_preprocessor, count):
    source, preprocessor = make_source(10), make_preprocessor()

    def make(share):
        return take(
            pipeline.make_eval_dataset(
                source, np.arange(1, count + 1), preprocessor, batch_size=4, share=share
            )
        )

    whole, parts = make(None), [make(share) for share in SHARES]
    assert {len(part) for part in parts} == {len(whole)}
    assert_joined(parts, whole)
    rows = np.concatenate([b[spec.INDEX] for part in parts for b in part])
    assert sorted(rows[rows >= 0]) == list(range(1, count + 1))


def test_rows_of_other_workers_are_named_once_and_count(make_source, tmp_path):
    source, path = make_source(20), tmp_path / "dropped.jsonl"
    chief = DroppedRows(source, 0.2, 20, path)
    other = DroppedRows(source, 0.2, 20)
    for index in (1, 2):
        chief.record(index, spec.UNDECODABLE_IMAGE)
    for index in (2, 3):
        other.record(index, spec.UNDECODABLE_IMAGE)
    rows = other.take_new()
    assert chief.take_new() != rows and other.take_new() == b"[]"
    chief.add_others(rows)
    assert sorted(chief.reasons) == [1, 2, 3] and len(chief.left_out) == 3
    assert len(path.read_text().splitlines()) == 3
    other.record(4, spec.UNDECODABLE_IMAGE)
    other.record(5, spec.UNDECODABLE_IMAGE)
    with pytest.raises(TooManyBadRows, match="5 of 20"):
        chief.add_others(other.take_new())


def test_rows_that_are_used_in_part_are_named_but_do_not_count(make_source, tmp_path):
    source = make_source(10)
    other = DroppedRows(source, 0.0, 10)
    other.record(1, spec.UNDECODABLE_IMAGE, left_out=False)
    chief = DroppedRows(source, 0.0, 10, tmp_path / "dropped.jsonl")
    chief.add_others(other.take_new())
    assert list(chief.reasons) == [1] and not chief.left_out
