"""The SavedModel: its answers, its files and its versions."""

import types

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.serving.saved_model import (
    export_saved_model,
    make_serving_function,
)


@pytest.fixture(scope="module")
def exported(predictor, tmp_path_factory):
    return export_saved_model(predictor, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def serve(exported):
    return load(exported)


def load(folder):
    """Returns a function from lists of image bytes and texts to the outputs."""
    model = tf.saved_model.load(str(folder))  # kept alive: it holds the variables

    def ask(images, texts):
        answer = model.signatures["serving_default"](
            image_bytes=tf.constant(images, tf.string), text=tf.constant(texts)
        )
        return {key: value.numpy() for key, value in answer.items()}

    return ask


def make_images() -> list[bytes]:
    """Returns one image in each of several formats and sizes."""
    pixels = np.random.RandomState(0).randint(0, 256, (24, 40, 4), np.uint8)
    rgb, grey = pixels[..., :3], pixels[..., :1]
    images = [
        tf.io.encode_jpeg(rgb),
        tf.io.encode_jpeg(grey, format="grayscale"),
        tf.io.encode_png(pixels),
        tf.io.encode_png(rgb.astype(np.uint16) * 257),
        tf.io.encode_png(rgb[:5, :3]),
    ]
    return [image.numpy() for image in images]


def test_answers_equal_predict(serve, predictor):
    images = make_images()
    texts = ["two cats", "a red bird", "", "Zwölf Äpfel 서울의", " the  SIGN "]
    # Missing image, missing both, two that do not decode, in the same batch.
    images += [b"", b"", b"not an image", images[0][:30]]
    texts += ["a bird", "", "a symbol", "a symbol"]
    expected = predictor.predict(images, texts).probabilities
    answer = serve(images, texts)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 0.05  # the rows are told apart


def test_a_bad_image_counts_as_missing_and_spares_the_others(serve):
    images = [b"", b"garbage", make_images()[0]]
    answer = serve(images, ["a cat"] * 3)["probabilities"]
    np.testing.assert_array_equal(answer[0], answer[1])
    assert np.abs(answer[2] - answer[0]).max() > 1e-3


def test_labels_are_the_best_in_order(predictor):
    classes = ("ant", "bee", "cow", "dog", "elk", "für", "猫")
    logits = np.log([[1, 2, 4, 3, 5, 6, 7], [9, 1, 1, 1, 2, 3, 0.1]])
    stand_in = types.SimpleNamespace(
        model=lambda inputs, training: tf.constant(logits),
        preprocessor=predictor.preprocessor,
        classes=classes,
    )
    answer = make_serving_function(stand_in)(
        tf.constant(["", ""]), tf.constant(["", ""])
    )
    names = [[name.decode() for name in row] for row in answer["labels"].numpy()]
    assert names[0] == ["猫", "für", "elk", "cow", "dog"]
    assert names[1][:3] == ["ant", "für", "elk"]
    np.testing.assert_allclose(
        answer["scores"][0], np.array([7, 6, 5, 4, 3]) / 28, rtol=1e-6
    )
    np.testing.assert_allclose(
        answer["probabilities"][0],
        np.arange(1, 8)[[0, 1, 3, 2, 4, 5, 6]] / 28,
        rtol=1e-6,
    )
    assert answer["scores"].dtype == answer["probabilities"].dtype == tf.float32


def test_fewer_classes_than_five_are_all_listed(serve, predictor):
    answer = serve([b""], ["two cats"])
    names = {name.decode() for name in answer["labels"][0]}
    assert names == set(predictor.classes)


def test_one_text_for_two_images_is_an_error(serve):
    with pytest.raises(tf.errors.InvalidArgumentError, match="one entry a row"):
        serve([b"", b""], ["a bird"])


def test_files_beside_the_model(exported, predictor):
    extra = exported / "assets.extra"
    labels = (extra / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == list(predictor.classes)
    pieces = (extra / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    assert pieces == predictor.preprocessor.tokenizer.get_vocabulary()


def test_model_of_images_ignores_the_text(image_run, tmp_path):
    image_predictor = Predictor.from_run(image_run)
    folder = export_saved_model(image_predictor, tmp_path)
    first, second = make_images()[0], make_images()[4]
    images, texts = [first, first, second, b""], ["a cat", "", "a cat", "a cat"]
    answer = load(folder)(images, texts)["probabilities"]
    expected = image_predictor.predict(images, texts).probabilities
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(answer[0], answer[1])
    assert np.abs(answer[2] - answer[0]).max() > 1e-3
    assert not (folder / "assets.extra/vocabulary.txt").exists()


def test_versions_count_up_and_stay(predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tf_multimodal.serving.saved_model.write_saved_model",
        lambda predictor, folder: (folder.mkdir(), (folder / "model").touch()),
    )
    (tmp_path / "notes").mkdir()
    assert export_saved_model(predictor, tmp_path) == tmp_path / "1"
    (tmp_path / "9").mkdir()
    assert export_saved_model(predictor, tmp_path) == tmp_path / "10"
    assert {entry.name for entry in tmp_path.iterdir()} == {"1", "9", "10", "notes"}


def test_a_failed_check_leaves_no_version(predictor, tmp_path):
    seen = []

    def check(folder):
        seen.append((folder / "saved_model.pb").is_file())
        raise RuntimeError("differs")

    with pytest.raises(RuntimeError, match="differs"):
        export_saved_model(predictor, tmp_path, check)
    assert seen == [True]
    assert list(tmp_path.iterdir()) == []
