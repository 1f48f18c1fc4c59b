"""What a batch reads of its rows: when, which caption, and sets of labels."""

import dataclasses

import numpy as np
import tensorflow as tf

from tf_multimodal.data import pipeline, spec
from tf_multimodal.data.source import LabelSets


def take(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def test_a_label_set_is_ones_at_its_classes(make_source, make_preprocessor, config):
    sets = LabelSets(np.array([0, 2, 2, 3, 4]), np.array([0, 2, 1, 2], np.int32), 3)
    source = dataclasses.replace(make_source(4), label_sets=sets)
    source = dataclasses.replace(source, weights=np.array([1, 2, 3, 4], np.float32))
    source.labels[1] = -1  # no label is allowed here
    dataset = pipeline.make_train_dataset(
        source, np.array([3, 1, 0]), make_preprocessor("text"), config
    )
    assert dataset.element_spec[1] == tf.TensorSpec([4, 3], tf.float32)
    _, labels, weights = take(dataset, 1)[0]
    expected = {1: [1, 0, 1], 2: [0, 0, 0], 4: [0, 0, 1]}
    assert {1, 2, 4} == set(weights.tolist())
    for weight, label in zip(weights, labels, strict=True):
        assert label.tolist() == expected[weight]


def test_each_pass_draws_one_of_the_captions(make_source, make_preprocessor, config):
    captions = np.empty(4, object)
    captions[:] = [("a", "", "b"), ("c", "d", ""), ("", "", ""), ("", "e", "")]
    source = dataclasses.replace(make_source(4), captions=captions)
    source = dataclasses.replace(source, labels=np.arange(4, dtype=np.int32))

    def read(start):
        dataset = pipeline.make_train_dataset(
            source, np.arange(4), make_preprocessor(), config, start_step=start
        )
        tokens = [
            dict(zip(labels.tolist(), x[spec.TOKEN_IDS][:, 1].tolist(), strict=True))
            for x, labels, _ in take(dataset, 40 - start)
        ]
        return tokens

    found = read(0)
    a, b, c, d, e = range(5, 10)  # tokens of the pieces; 3: [SEP]
    for row, choices in enumerate([{a, b}, {c, d}, {3}, {e}]):
        assert {tokens[row] for tokens in found} == choices
    assert 8 < sum(tokens[0] == a for tokens in found) < 32
    assert found[30:] == read(30)


def test_rows_are_read_when_a_batch_needs_them(make_source, make_preprocessor):
    """A column needs no more than positions; what is hidden is not read."""
    read = []

    class Column:
        def __init__(self, values):
            self.values = values

        def __getitem__(self, index):
            read.append(np.asarray(index).tolist())
            return self.values[index]

    source = make_source(12)
    lazy = dataclasses.replace(
        source, images=Column(source.images), texts=Column(source.texts)
    )
    arguments = (np.arange(12), make_preprocessor())
    for hide, count in (({}, 6), ({"mask_images": True, "mask_texts": True}, 0)):
        read.clear()
        found = pipeline.make_eval_dataset(lazy, *arguments, batch_size=4, **hide)
        expected = pipeline.make_eval_dataset(source, *arguments, batch_size=4, **hide)
        assert not read
        for a, b in zip(take(found, 3), take(expected, 3), strict=True):
            tf.nest.map_structure(np.testing.assert_array_equal, a, b)
        assert len(read) == count and all(len(rows) == 4 for rows in read)
