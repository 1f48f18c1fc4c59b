"""One pass over a split: every variant is what predict says of it."""

import dataclasses
import io

import numpy as np
import PIL.Image
import pytest

from tf_multimodal.data.labels import mask_label_words
from tf_multimodal.evaluation.report import collect as collect_lib
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run


def collect_run(run_dir, split="test"):
    predictor = Predictor.from_run(run_dir)
    source = load_run_source(read_run(run_dir))
    return collect_lib.collect(predictor, source, split, batch_size=3)


@pytest.fixture(scope="module")
def collected(small_run):
    return collect_run(small_run, "train")


@pytest.mark.parametrize(
    "variant, masks",
    [
        ("both", {}),
        ("image", {"mask_texts": True}),
        ("text", {"mask_images": True}),
    ],
)
def test_variants_are_what_predict_says(collected, variant, masks):
    expected = collected.predictor.predict_source(
        collected.source, collected.index, **masks
    )
    np.testing.assert_allclose(
        collected.probabilities(variant), expected.probabilities, atol=1e-6
    )
    if not masks:
        assert list(collected.status) == expected.status


@pytest.mark.parametrize(
    "variant, masks", [("words_masked", {}), ("text_words_masked", {"mask_images": 1})]
)
def test_words_are_masked_in_the_text(collected, variant, masks):
    source, index = collected.source, collected.index
    texts = mask_label_words([str(t) for t in source.texts[index]], source.classes)
    assert texts != list(source.texts[index])
    images = [collected.read_image(i) for i in range(len(index))]
    encoded = [None if p is None or masks else encode_png(p) for p in images]
    expected = collected.predictor.predict(encoded, texts)
    np.testing.assert_allclose(
        collected.probabilities(variant), expected.probabilities, atol=1e-6
    )


def test_variants_differ(collected):
    names = sorted(collected.logits)
    assert names == ["both", "image", "text", "text_words_masked", "words_masked"]
    for name in names[1:]:
        assert not np.allclose(collected.logits[name], collected.logits["both"])


def test_rows_are_those_of_the_split(collected):
    source, index = collected.source, collected.index
    assert len(collected) == len(index) == len(collected.truth)
    assert set(source.splits[index]) == {"train"}
    np.testing.assert_array_equal(collected.truth, source.labels[index])
    for position, size in enumerate(collected.sizes):
        pixels = collected.read_image(position)
        if pixels is not None:
            assert tuple(size) == (pixels.shape[1], pixels.shape[0])


def test_temperature_changes_probabilities_alone(collected):
    warm = dataclasses.replace(collected, temperature=3.0)
    assert warm.probabilities().max() < collected.probabilities().max()
    np.testing.assert_array_equal(warm.correct(), collected.correct())


def test_one_modality_has_one_variant(image_run):
    assert list(collect_run(image_run).logits) == ["both"]


def test_label_sets(multi_label_run):
    collected = collect_run(multi_label_run)
    assert collected.multi_label
    assert collected.truth.shape == collected.logits["both"].shape
    probabilities = collected.probabilities()
    np.testing.assert_array_equal(
        collected.correct(), ((probabilities >= 0.5) == collected.truth).all(1)
    )


def test_thumbnails_are_small(collected):
    for position, size in enumerate(collected.sizes):
        thumbnail = collected.get_thumbnail(position, side_px=16)
        if collected.read_image(position) is None:
            assert thumbnail is None
            continue
        with PIL.Image.open(io.BytesIO(thumbnail)) as picture:
            assert max(picture.size) == min(16, max(size))


def test_turned_photos_are_measured_upright(tmp_path):
    picture = PIL.Image.new("RGB", (40, 20))
    exif = PIL.Image.Exif()
    exif[274] = 6  # a quarter turn
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert collect_lib._read_size(str(tmp_path / "turned.jpg")) == (20, 40)
    assert collect_lib._read_size((tmp_path / "turned.jpg").read_bytes()) == (20, 40)
    assert collect_lib._read_size(str(tmp_path / "missing.jpg")) == (0, 0)
    assert collect_lib._read_size(b"no image") == (0, 0)


def test_an_odd_orientation_is_none(monkeypatch):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (40, 20)).save(buffer, "JPEG")
    monkeypatch.setattr(PIL.Image.Image, "getexif", lambda picture: {274: "6"})
    assert collect_lib._read_size(buffer.getvalue()) == (40, 20)


def encode_png(pixels):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
