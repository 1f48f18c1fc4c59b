"""The requests that a server sends itself before it serves a model."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's operations)
from tensorflow_serving.apis import prediction_log_pb2

from tf_multimodal.serving.warmup import (
    ALLOWED_BATCH_SIZES,
    read_warmup,
    write_warmup,
)


@pytest.fixture(scope="module")
def folder(servable, tmp_path_factory):
    folder = shutil.copytree(servable / "1", tmp_path_factory.mktemp("warm") / "1")
    write_warmup(folder)
    return folder


def test_every_signature_at_every_batch_size_answers(folder):
    model = tf.saved_model.load(str(folder))
    requests, asked = read_warmup(folder), []
    for request in requests:
        name = request.model_spec.signature_name
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        answer = model.signatures[name](**inputs)
        (rows,) = {len(value) for value in answer.values()}
        assert all(len(value) == rows for value in inputs.values())
        asked.append((name, rows))
    names = sorted(model.signatures)
    assert "serving_default" in names
    assert asked == [(name, rows) for name in names for rows in ALLOWED_BATCH_SIZES]
    assert len(requests) <= 1000


def test_the_warm_up_takes_the_whole_way(folder):
    requests = read_warmup(folder)
    names = [request.model_spec.signature_name for request in requests]
    inputs = requests[names.index("serving_default")].inputs
    (image,), (text,) = (tf.make_ndarray(inputs[k]) for k in ("image_bytes", "text"))
    assert np.ptp(tf.io.decode_jpeg(image).numpy()) > 100
    assert text.decode().strip()


def test_the_file_is_what_the_server_reads(folder):
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"


def save_sum(folder, **specs):
    """Writes a SavedModel that adds up each row of its inputs."""
    module = tf.Module()

    def serve(**inputs):
        sums = [
            tf.reduce_sum(tf.cast(x, tf.float32), range(1, x.shape.rank))
            for x in inputs.values()
        ]
        return {"sum": tf.add_n(sums)}

    module.serve = tf.function(serve).get_concrete_function(
        **{key: tf.TensorSpec(*spec, name=key) for key, spec in specs.items()}
    )
    tf.saved_model.save(module, str(folder), signatures=module.serve)
    return folder


def test_prepared_tensors_are_small_in_the_file_and_full_when_read(tmp_path):
    folder = save_sum(
        tmp_path / "model",
        images=([None, 64, 64, 3], tf.float32),
        has_image=([None], tf.bool),
        padding_mask=([None, 8], tf.int32),
    )
    assert write_warmup(folder) == len(ALLOWED_BATCH_SIZES)
    request = read_warmup(folder)[-1]
    assert request.ByteSize() < 300
    assert tf.make_ndarray(request.inputs["has_image"]).all()
    images = tf.make_ndarray(request.inputs["images"])
    assert images.shape == (32, 64, 64, 3) and (images == 0.5).all()
    # TensorFlow's own reader, which is the server's, fills them in the same way.
    proto = request.inputs["images"].SerializeToString()
    np.testing.assert_array_equal(tf.io.parse_tensor(proto, tf.float32), images)


def test_an_unknown_input_is_named(tmp_path):
    folder = save_sum(tmp_path / "model", weight=([None], tf.float32))
    with pytest.raises(ValueError, match="'weight' of the signature 'serving_default'"):
        write_warmup(folder)
