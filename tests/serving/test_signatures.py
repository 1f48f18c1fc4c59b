"""The signatures: what they take and give, against `predict` and the model itself."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_samples import make_samples, make_turned

from tf_multimodal.data import spec
from tf_multimodal.data.pipeline import make_eval_dataset
from tf_multimodal.inference.predictor import Predictor, make_source
from tf_multimodal.inference.run_reader import read_run
from tf_multimodal.serving.signatures import make_signatures
from tf_multimodal.training.model_builder import build_classifier, build_preprocessor

RAW = {"image_bytes", "text"}
ANSWER = {"labels", "scores", "probabilities", "status"}
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model(servable):
    """The SavedModel of the small run; it must outlive its signatures."""
    return tf.saved_model.load(str(servable / "1"))


@pytest.fixture(scope="module")
def ask(model):
    """Asks a signature with lists; returns arrays."""

    def ask(signature, **inputs):
        tensors = {
            key: tf.constant(value, tf.string) if key in RAW else tf.constant(value)
            for key, value in inputs.items()
        }
        return to_arrays(model.signatures[signature](**tensors))

    return ask


def to_arrays(outputs):
    return {key: value.numpy() for key, value in outputs.items()}


def make_image(seed: int = 0) -> bytes:
    pixels = np.random.RandomState(seed).randint(0, 256, (24, 40, 3), np.uint8)
    return tf.io.encode_png(pixels).numpy()


def make_pairs() -> tuple[list[bytes], list[bytes]]:
    """Returns images and texts, one row for each status that bytes can have."""
    good = make_image()
    # The header of a PNG with more pixels than are allowed.
    large = good[:16] + (9000).to_bytes(4, "big") * 2 + good[24:]
    pairs = [
        (good, "two cats"),
        (make_image(1), ""),
        (b"", "Zwölf Äpfel 서울의 bird"),
        (b"", " "),
        (b"not an image", "a symbol"),
        (good[:60], ""),
        (large, "a red bird"),
        (good, b"a cat \xff\xfe"),
        (b"", b"\xff"),
    ]
    images, texts = zip(*pairs, strict=True)
    return list(images), [x.encode() if isinstance(x, str) else x for x in texts]


def test_names_of_inputs_and_outputs(model):
    tensors = set(spec.IMAGE_KEYS + spec.TEXT_KEYS)
    embeddings = {"fused_embedding", "image_embedding", "text_embedding"}
    expected = {
        "serving_default": (RAW, ANSWER),
        "features": (RAW, embeddings | {"status"}),
        "tensors": (tensors, ANSWER),
        "preprocess": (RAW, tensors | {"status"}),
        "image_only": ({"image_bytes"}, ANSWER),
        "text_only": ({"text"}, ANSWER),
    }
    signatures = model.signatures
    assert set(signatures) == set(expected)
    for name, (inputs, outputs) in expected.items():
        _, taken = signatures[name].structured_input_signature
        given = signatures[name].structured_outputs
        assert (set(taken), set(given)) == (inputs, outputs), name
        assert all(value.shape[0] is None for value in (taken | given).values())
    given = signatures["serving_default"].structured_outputs
    dtypes = {key: value.dtype.name for key, value in given.items()}
    assert dtypes == {
        "labels": "string",
        "scores": "float32",
        "probabilities": "float32",
        "status": "string",
    }


def test_serving_default_answers_as_predict(ask, predictor):
    images, texts = make_pairs()
    expected = predictor.predict(images, texts)
    answer = ask("serving_default", image_bytes=images, text=texts)
    np.testing.assert_allclose(
        answer["probabilities"], expected.probabilities, rtol=0, atol=TOLERANCE
    )
    assert [status.decode() for status in answer["status"]] == expected.status
    assert expected.status == [
        "ok",
        "ok",
        "ok",
        "missing_input",
        "undecodable_image",
        "undecodable_image",
        "image_too_large",
        "undecodable_text",
        "undecodable_text",
    ]
    assert np.ptp(expected.probabilities, axis=0).max() > 0.05  # rows are told apart


def test_a_row_is_answered_as_it_is_alone(ask):
    images, texts = make_pairs()
    together = ask("serving_default", image_bytes=images, text=texts)
    for row in range(len(images)):
        alone = ask("serving_default", image_bytes=[images[row]], text=[texts[row]])
        difference = alone["probabilities"][0] - together["probabilities"][row]
        assert np.abs(difference).max() <= 1e-6
        assert alone["status"][0] == together["status"][row]


def test_image_only_and_text_only_answer_as_predict(ask, predictor):
    images, texts = make_pairs()
    nothing = [b""] * len(images)
    answers = {
        "image_only": (ask("image_only", image_bytes=images), (images, nothing)),
        "text_only": (ask("text_only", text=texts), (nothing, texts)),
    }
    for name, (answer, pairs) in answers.items():
        expected = predictor.predict(*pairs)
        difference = answer["probabilities"] - expected.probabilities
        assert np.abs(difference).max() <= TOLERANCE, name
        assert [status.decode() for status in answer["status"]] == expected.status
        assert len(set(expected.status)) > 2


def test_tensors_of_preprocess_give_the_same_answer(ask, predictor):
    images, texts = make_pairs()
    expected = ask("serving_default", image_bytes=images, text=texts)
    tensors = ask("preprocess", image_bytes=images, text=texts)
    np.testing.assert_array_equal(tensors.pop("status"), expected["status"])
    answer = ask("tensors", **tensors)
    for key in ("labels", "scores", "probabilities"):
        np.testing.assert_array_equal(answer[key], expected[key])
    # The bytes are not there to say why.
    missing = [row in (3, 5, 8) for row in range(len(images))]
    statuses = np.where(missing, b"missing_input", b"ok")
    assert answer["status"].tolist() == statuses.tolist()


def test_bad_tensors_do_not_fail_their_batch(ask):
    """An id that the vocabulary lacks, or a NaN, masks that input of that row."""
    images = [make_image(number) for number in range(7)]
    texts = [b"a red bird"] * 7
    good = ask("preprocess", image_bytes=images, text=texts)
    del good["status"]
    bad = {key: value.copy() for key, value in good.items()}
    bad["token_ids"][1, 1] = 9_999_999
    bad["token_ids"][2, 0] = -1
    bad["segment_ids"][3, 2] = 2
    bad["images"][4, 0, 0, 0] = np.nan
    bad["images"][5, 0, 0, 0] = np.inf
    bad["token_ids"][5, 1] = -7
    answer = ask("tensors", **bad)
    statuses = ["ok", *["undecodable_text"] * 3, *["undecodable_image"] * 2, "ok"]
    assert [status.decode() for status in answer["status"]] == statuses
    no_text = ask("image_only", image_bytes=images)["probabilities"]
    no_image = ask("text_only", text=texts)["probabilities"]
    nothing = ask("text_only", text=[b""])["probabilities"][0]
    whole = ask("tensors", **good)["probabilities"]
    expected = [whole[0], *no_text[1:4], no_image[4], nothing, whole[6]]
    np.testing.assert_allclose(
        answer["probabilities"], expected, rtol=0, atol=TOLERANCE
    )


def test_the_saved_model_sees_what_the_evaluation_sees(ask, predictor):
    """Every format, all eight orientations, and sizes that are not the model's."""
    turned = [make_turned(number, side_px=40) for number in range(1, 9)]
    images = [*make_samples().values(), *turned, make_image()]
    source = make_source(images, [""] * len(images))
    dataset = make_eval_dataset(
        source, np.arange(len(images)), predictor.preprocessor, batch_size=len(images)
    )
    expected = next(iter(dataset))[spec.INPUTS][spec.IMAGES].numpy()
    served = ask("preprocess", image_bytes=images, text=[b""] * len(images))
    assert set(served["status"].tolist()) == {b"ok"}
    np.testing.assert_allclose(served[spec.IMAGES], expected, rtol=0, atol=1e-6)
    assert len({image.tobytes() for image in served[spec.IMAGES][-9:]}) == 9


def test_features_are_those_of_the_model(ask, predictor):
    images, texts = make_pairs()
    tensors = ask("preprocess", image_bytes=images, text=texts)
    status = tensors.pop("status")
    expected = predictor.model.backbone(tensors)
    answer = ask("features", image_bytes=images, text=texts)
    np.testing.assert_array_equal(answer["status"], status)
    for name, key in {
        "fused_embedding": "joint_features",
        "image_embedding": "image_features",
        "text_embedding": "text_features",
    }.items():
        np.testing.assert_allclose(answer[name], expected[key], rtol=0, atol=2e-5)
    missing = predictor.model.backbone.joint.get_layer("missing_image").embedding
    np.testing.assert_array_equal(answer["image_embedding"][2], missing)
    assert np.ptp(answer["image_embedding"][:2], axis=0).max() > 0.05


def test_an_empty_batch(ask, predictor):
    classes = len(predictor.classes)
    answer = ask("serving_default", image_bytes=[], text=[])
    assert answer["labels"].shape == answer["probabilities"].shape == (0, classes)
    assert answer["status"].shape == (0,)
    tensors = ask("preprocess", image_bytes=[], text=[])
    del tensors["status"]
    assert ask("tensors", **tensors)["scores"].shape == (0, classes)
    assert ask("features", image_bytes=[], text=[])["text_embedding"].shape[0] == 0
    assert ask("image_only", image_bytes=[])["labels"].shape == (0, classes)
    assert ask("text_only", text=[])["labels"].shape == (0, classes)


@pytest.mark.parametrize("name", ["serving_default", "features", "preprocess"])
def test_one_text_for_two_images_is_an_error(ask, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match="one entry a row"):
        ask(name, image_bytes=[b"", b""], text=["a bird"])


def test_tensors_of_unequal_rows_are_an_error(ask):
    tensors = ask("preprocess", image_bytes=[b"", b""], text=["a bird", "a cat"])
    del tensors["status"]
    tensors["has_image"] = tensors["has_image"][:1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="same number of rows"):
        ask("tensors", **tensors)


def test_labels_are_the_best_in_order(predictor):
    classes = ("ant", "bee", "cow", "dog", "elk", "für", "猫")
    logits = np.log([[1, 2, 4, 3, 5, 6, 7], [9, 1, 1, 1, 2, 3, 0.1]])
    stand_in = types.SimpleNamespace(
        backbone=lambda x, training: {"joint_features": tf.zeros([2, 1])},
        heads={"joint": lambda features: tf.constant(logits)},
        activation="softmax",
    )
    signatures = make_signatures(stand_in, predictor.preprocessor, classes)
    answer = signatures["serving_default"](
        tf.constant(["", ""]), tf.constant(["a", "b"])
    )
    names = [[name.decode() for name in row] for row in answer["labels"].numpy()]
    assert names[0] == ["猫", "für", "elk", "cow", "dog"]
    assert names[1][:3] == ["ant", "für", "elk"]
    probabilities = np.array([[1, 2, 4, 3, 5, 6, 7], [9, 1, 1, 1, 2, 3, 0.1]])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answer["probabilities"], probabilities, rtol=1e-6)
    np.testing.assert_allclose(answer["scores"][0], np.arange(7, 2, -1) / 28, rtol=1e-6)
    assert answer["scores"].dtype == answer["probabilities"].dtype == tf.float32


def test_a_model_of_images_does_not_look_at_the_text(image_run):
    predictor = Predictor.from_run(image_run)
    signatures = make_signatures(
        predictor.model, predictor.preprocessor, predictor.classes
    )
    assert set(signatures) == {
        "serving_default",
        "features",
        "tensors",
        "preprocess",
        "image_only",
    }
    images, texts = make_pairs()
    expected = predictor.predict(images, texts)
    answer = to_arrays(
        signatures["serving_default"](tf.constant(images), tf.constant(texts))
    )
    np.testing.assert_allclose(
        answer["probabilities"], expected.probabilities, rtol=0, atol=TOLERANCE
    )
    assert [status.decode() for status in answer["status"]] == expected.status
    assert answer["status"][7] == b"ok" and answer["status"][2] == b"missing_input"
    alone = to_arrays(signatures["image_only"](tf.constant(images)))
    np.testing.assert_array_equal(alone["probabilities"], answer["probabilities"])
    features = signatures["features"](tf.constant(images), tf.constant(texts))
    assert set(features) == {"fused_embedding", "image_embedding", "status"}


@pytest.mark.parametrize("modalities", ["text", "image_text"])
def test_every_fusion_answers_as_the_model(small_run, modalities):
    config = read_run(small_run).config.copy_and_resolve_references()
    config.model.modalities = modalities
    fusions = ("concat", "late") if modalities == "image_text" else ("concat",)
    for fusion in fusions:
        config.model.fusion = fusion
        preprocessor = build_preprocessor(config, [])
        model = build_classifier(config, preprocessor, 3, "float32")
        keras.utils.set_random_seed(3)
        for weight in model.trainable_variables:
            weight.assign(keras.random.normal(weight.shape))
        signatures = make_signatures(model, preprocessor, ("a", "b", "c"))
        images, texts = (tf.constant(column) for column in make_pairs())
        answer = to_arrays(signatures["serving_default"](images, texts))
        tensors = signatures["preprocess"](images, texts)
        del tensors["status"]
        expected = tf.nn.softmax(model(tensors))
        np.testing.assert_allclose(answer["probabilities"], expected, atol=TOLERANCE)
        assert np.ptp(expected, axis=0).max() > 0.05
        if modalities == "text":
            assert "image_only" not in signatures and "text_only" in signatures
            assert answer["status"][5] == b"missing_input"  # an image is not looked at
