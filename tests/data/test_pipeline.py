import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import pipeline, spec
from tf_multimodal.data.dropped import DroppedRows, TooManyBadRows

MODALITIES = ("image", "text", "image_text")
SIZE_PX, TOKENS = 16, 6  # of the preprocessors


def take(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def get_statuses(batch):
    return [spec.STATUSES[code] for code in batch[spec.STATUS]]


def assert_batches_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, a, b)


def assert_spec(structure, modalities):
    expected = spec.make_input_spec(modalities, SIZE_PX, TOKENS, 4)
    assert set(structure) == set(expected)
    for key, tensor in expected.items():
        assert structure[key].shape == tensor.shape
        assert structure[key].dtype == tensor.dtype


@pytest.fixture
def random_config(config):
    config.augment.crop = "resized"
    config.augment.flip = True
    for key in ("brightness", "contrast", "saturation"):
        config.augment[key] = 0.1
    for key in ("token_drop", "drop_image", "drop_text"):
        config.augment[key] = 0.2
    return config


@pytest.mark.parametrize("modalities", MODALITIES)
def test_batches_are_what_the_spec_says(
    modalities, make_source, make_preprocessor, random_config
):
    source, preprocessor = make_source(6), make_preprocessor(modalities)
    indices = np.arange(6)
    dataset = pipeline.make_train_dataset(source, indices, preprocessor, random_config)
    x, labels, weights = dataset.element_spec
    assert_spec(x, modalities)
    assert labels == tf.TensorSpec([4], tf.int32)
    assert weights == tf.TensorSpec([4], tf.float32)
    assert len(take(dataset, 2)) == 2
    dataset = pipeline.make_eval_dataset(source, indices, preprocessor, batch_size=4)
    assert_spec(dataset.element_spec[spec.INPUTS], modalities)
    assert dataset.element_spec[spec.INDEX] == tf.TensorSpec([4], tf.int64)
    assert dataset.element_spec[spec.STATUS] == tf.TensorSpec([4], tf.int32)


def test_batch_k_depends_on_the_seed_and_k_alone(
    make_source, make_preprocessor, random_config
):
    def make(start_step):
        return pipeline.make_train_dataset(
            make_source(10),
            np.arange(10),
            make_preprocessor(),
            random_config,
            start_step=start_step,
        )

    batches = take(make(0), 9)
    assert_batches_equal(batches[5:], take(make(5), 4))
    assert np.any(batches[0][0][spec.IMAGES] != batches[5][0][spec.IMAGES])
    random_config.seed = 1
    other = take(make(0), 1)[0]
    assert np.any(batches[0][0][spec.IMAGES] != other[0][spec.IMAGES])


@pytest.mark.parametrize("count", [1, 3, 10])  # 1 and 3: fewer than a batch
def test_a_pass_visits_every_row_once(count, make_source, make_preprocessor, config):
    source = make_source(count + 2)
    source = dataclasses.replace(source, labels=np.arange(count + 2, dtype=np.int32))
    indices = np.arange(2, count + 2)
    dataset = pipeline.make_train_dataset(
        source, indices, make_preprocessor("text"), config
    )
    labels = np.concatenate([batch[1] for batch in take(dataset, count)])
    for one in labels.reshape(4, count):
        assert sorted(one) == list(indices)


def test_orders_look_random(make_source, make_preprocessor, config):
    """Orders of 20 rows, 50 passes: no place, row or pair of rows is favoured."""
    source = make_source(20, [b""] * 20)
    source = dataclasses.replace(source, labels=np.arange(20, dtype=np.int32))
    dataset = pipeline.make_train_dataset(
        source, np.arange(20), make_preprocessor("text"), config
    )
    labels = np.concatenate([batch[1] for batch in take(dataset, 250)])
    orders = labels.reshape(50, 20)
    assert len({tuple(order) for order in orders}) == 50
    assert np.bincount(orders[:, 0], minlength=20).max() < 12  # 2.5 expected
    assert np.mean(np.diff(orders, axis=1) == 1) < 0.1  # 0.05 expected
    slopes = [np.corrcoef(order, np.arange(20))[0, 1] for order in orders]
    assert abs(np.mean(slopes)) < 0.15


def test_training_without_random_changes_is_evaluation(
    make_source, make_preprocessor, config
):
    source = make_source(4, texts=["a b", "c", "", "dog"])
    preprocessor = make_preprocessor(crop_to_aspect_ratio=False)
    x, labels, weights = take(
        pipeline.make_train_dataset(source, np.arange(4), preprocessor, config), 1
    )[0]
    batch = take(
        pipeline.make_eval_dataset(source, np.arange(4), preprocessor, batch_size=4), 1
    )[0]
    order = [
        int(np.argmin(np.abs(batch[spec.INPUTS][spec.IMAGES] - image).sum((1, 2, 3))))
        for image in x[spec.IMAGES]
    ]
    assert sorted(order) == [0, 1, 2, 3] and list(weights) == [1.0] * 4
    np.testing.assert_array_equal(labels, source.labels[order])
    for key in (*spec.TEXT_KEYS, spec.HAS_IMAGE):
        np.testing.assert_array_equal(x[key], batch[spec.INPUTS][key][order])
    difference = np.abs(x[spec.IMAGES] - batch[spec.INPUTS][spec.IMAGES][order])
    assert difference.mean() < 0.1  # of a range of 2: another resize


def test_evaluation_returns_every_row_once_in_order(make_source, make_preprocessor):
    source, indices = make_source(12), np.array([7, 1, 3, 5, 2, 11])
    dataset = pipeline.make_eval_dataset(
        source, indices, make_preprocessor(), batch_size=4
    )
    for _ in range(2):
        batches = list(dataset.as_numpy_iterator())
        index = np.concatenate([batch[spec.INDEX] for batch in batches])
        assert list(index) == [*indices, -1, -1]
    x = batches[1][spec.INPUTS]
    assert (
        list(x[spec.HAS_IMAGE]) == list(x[spec.HAS_TEXT]) == [True, True, False, False]
    )
    assert x[spec.IMAGES][1].any() and not x[spec.IMAGES][2:].any()
    assert x[spec.TOKEN_IDS][2].tolist() == [2, 3, 0, 0, 0, 0]
    assert x[spec.PADDING_MASK][2].tolist() == [1, 1, 0, 0, 0, 0]
    assert get_statuses(batches[1]) == ["ok"] * 2 + ["missing_input"] * 2


def test_evaluation_masks_what_is_bad_missing_or_hidden(make_source, make_preprocessor):
    images = make_source(4).images
    images[1], images[2] = b"hello", b""
    source = make_source(4, images, ["a b", "c", "d", " "])

    def read(**kwargs):
        dataset = pipeline.make_eval_dataset(
            source, np.arange(4), make_preprocessor(), batch_size=4, **kwargs
        )
        batch = take(dataset, 1)[0]
        return batch[spec.INPUTS], get_statuses(batch)

    x, status = read()
    assert list(x[spec.HAS_IMAGE]) == [True, False, False, True]
    assert status == ["ok", "undecodable_image", "ok", "ok"]
    assert list(x[spec.HAS_TEXT]) == [True, True, True, False]
    assert not x[spec.IMAGES][1:3].any() and x[spec.IMAGES][3].any()
    hidden, status = read(mask_images=True)
    assert not hidden[spec.HAS_IMAGE].any() and not hidden[spec.IMAGES].any()
    assert status == ["ok", "ok", "ok", "missing_input"]
    np.testing.assert_array_equal(hidden[spec.TOKEN_IDS], x[spec.TOKEN_IDS])
    hidden, _ = read(mask_texts=True)
    assert not hidden[spec.HAS_TEXT].any()
    assert np.all(hidden[spec.TOKEN_IDS] == x[spec.TOKEN_IDS][3])
    np.testing.assert_array_equal(hidden[spec.IMAGES], x[spec.IMAGES])


def test_a_text_model_does_not_look_at_images(make_source, make_preprocessor, config):
    source = make_source(4, [b"hello"] * 4)
    preprocessor = make_preprocessor("text")
    dropped = DroppedRows(source, 0.0, 4)
    dataset = pipeline.make_train_dataset(
        source, np.arange(4), preprocessor, config, dropped=dropped
    )
    assert all(np.all(batch[2] == 1) for batch in take(dataset, 2))
    dataset = pipeline.make_eval_dataset(
        source, np.arange(4), preprocessor, batch_size=4
    )
    assert get_statuses(take(dataset, 1)[0]) == ["ok"] * 4


def test_weights_are_row_times_class(make_source, make_preprocessor, config):
    source = dataclasses.replace(
        make_source(4), weights=np.array([1, 2, 0, 3], np.float32)
    )
    dataset = pipeline.make_train_dataset(
        source,
        np.arange(4),
        make_preprocessor("text"),
        config,
        class_weights=np.array([0.5, 10.0]),
    )
    _, labels, weights = take(dataset, 1)[0]
    found = collections.Counter(zip(labels.tolist(), weights.tolist(), strict=True))
    assert found == {(0, 0.5): 1, (1, 20.0): 1, (0, 0.0): 1, (1, 30.0): 1}


def make_bad_source(make_source, folder):
    """Row 0: no file; 1: half a PNG; 2: half a JPEG; 3: nothing; 4 to 7: good."""
    images = list(make_source(8).images)
    jpeg = tf.io.encode_jpeg(tf.io.decode_png(images[2])).numpy()
    images[1], images[2] = images[1][:60], jpeg[: len(jpeg) // 2]
    paths = [str(folder / f"{i}.png") for i in range(8)]
    for path, image in list(zip(paths, images, strict=True))[1:]:
        with open(path, "wb") as file:
            file.write(image)
    paths[3] = ""
    texts = ["a", "b", "c", "", "d", "e", "f", ""]
    return make_source(8, paths, texts)


@pytest.mark.parametrize("policy", ["drop", "mask"])
def test_bad_rows_are_named_and_weigh_nothing(
    policy, tmp_path, make_source, make_preprocessor, config
):
    source = make_bad_source(make_source, tmp_path)
    source = dataclasses.replace(source, labels=np.arange(8, dtype=np.int32))
    config.data.bad_rows = policy
    path = tmp_path / "dropped.jsonl"
    left_out = {0, 1, 2, 3} if policy == "drop" else {3}
    dropped = DroppedRows(source, len(left_out) / 8, 8, path)
    dataset = pipeline.make_train_dataset(
        source, np.arange(8), make_preprocessor(), config, dropped=dropped
    )
    batches = take(dataset, 4)
    labels = np.concatenate([batch[1] for batch in batches[:2]])
    weights = np.concatenate([batch[2] for batch in batches[:2]])
    has_image = np.concatenate([batch[0][spec.HAS_IMAGE] for batch in batches[:2]])
    used = set(labels[weights > 0].tolist())
    assert used == ({4, 5, 6, 7} if policy == "drop" else {0, 1, 2, 4, 5, 6, 7})
    assert set(labels[has_image].tolist()) == {4, 5, 6, 7}
    assert set(dropped.reasons) == {0, 1, 2, 3} and dropped.left_out == left_out
    assert "does not exist" in dropped.reasons[0]
    assert "does not decode" in dropped.reasons[1]
    assert "does not decode" in dropped.reasons[2]
    assert "no input" in dropped.reasons[3]
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("policy", ["drop", "raise"])
def test_too_many_bad_rows_end_the_run_with_reasons(
    policy, tmp_path, make_source, make_preprocessor, config
):
    source = make_bad_source(make_source, tmp_path)
    config.data.bad_rows = policy
    dropped = DroppedRows(source, 0.25 if policy == "drop" else 1.0, 8)
    dataset = pipeline.make_train_dataset(
        source, np.arange(8), make_preprocessor(), config, dropped=dropped
    )
    with pytest.raises(tf.errors.OpError):
        take(dataset, 2)
    assert isinstance(dropped.error, TooManyBadRows)
    assert "pairs.csv, row" in str(dropped.error)
    assert ("3 of 8" if policy == "drop" else "'raise'") in str(dropped.error)


def test_modality_dropout_hides_all_of_a_text(make_source, make_preprocessor, config):
    config.augment.drop_text, config.augment.drop_image = 0.5, 0.5
    dataset = pipeline.make_train_dataset(
        make_source(8), np.arange(8), make_preprocessor(), config
    )
    seen = set()
    for x, _, weights in take(dataset, 8):
        assert np.all(weights == 1)
        assert np.all(x[spec.HAS_IMAGE] != x[spec.HAS_TEXT])
        for row in range(4):
            seen.add(bool(x[spec.HAS_TEXT][row]))
            assert x[spec.IMAGES][row].any() == x[spec.HAS_IMAGE][row]
            length = 4 if x[spec.HAS_TEXT][row] else 2
            assert x[spec.PADDING_MASK][row].sum() == length
    assert seen == {True, False}


def test_an_endless_run_of_bad_rows_ends_soon(make_source, make_preprocessor, config):
    source = make_source(3000, [b"hello"] * 3000)
    dropped = DroppedRows(source, 0.5, 3000)
    dataset = pipeline.make_train_dataset(
        source, np.arange(3000), make_preprocessor(), config, dropped=dropped
    )
    with pytest.raises(tf.errors.OpError):
        take(dataset, 3000)
    assert len(dropped.left_out) == 100
    assert "100 of 100 training rows" in str(dropped.error)


def test_training_needs_rows_and_labels(make_source, make_preprocessor, config):
    source, preprocessor = make_source(3), make_preprocessor("text")
    with pytest.raises(ValueError, match="no rows"):
        pipeline.make_train_dataset(source, np.arange(0), preprocessor, config)
    source.labels[1] = -1
    with pytest.raises(ValueError, match="id1"):
        pipeline.make_train_dataset(source, np.arange(3), preprocessor, config)


def test_inputs_are_made_in_a_saved_function(tmp_path, make_source, make_preprocessor):
    """The graph has no Python op and takes batches of any size."""
    preprocessor = make_preprocessor()
    module = tf.Module()
    module.preprocessor = preprocessor.tokenizer
    signature = [tf.TensorSpec([None], tf.string)] * 2
    module.run = tf.function(
        lambda images, texts: pipeline.make_inputs(images, texts, preprocessor),
        input_signature=signature,
    )
    tf.saved_model.save(module, str(tmp_path))
    run = tf.saved_model.load(str(tmp_path)).run
    source = make_source(3)
    images, texts = list(source.images), list(source.texts)
    images[1] = b"hello"
    x, status = run(tf.constant(images), tf.constant(texts))
    names = [spec.STATUSES[code] for code in status]
    assert names == ["ok", "undecodable_image", "ok"]
    expected, _ = pipeline.make_inputs(
        tf.constant(images), tf.constant(texts), preprocessor
    )
    for key, value in expected.items():
        np.testing.assert_array_equal(x[key], value)
    nodes = module.run.get_concrete_function().graph.as_graph_def()
    functions = [node.op for f in nodes.library.function for node in f.node_def]
    assert not {"PyFunc", "EagerPyFunc"} & {*functions, *(n.op for n in nodes.node)}
