"""Damage reaches the model, and what it loses is counted."""

import dataclasses
import io
import types

import numpy as np
import PIL.Image
import pytest

from tf_multimodal.evaluation.report.collect import collect
from tf_multimodal.evaluation.report.robustness import make_robustness
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run

WORDS = ("dark night", "bright day")


class Reader:
    """Stands for a model that says what it reads, and keeps it.

    The class is that of the text's words; without them that of the image's top left.
    """

    def __init__(self, modalities="image_text"):
        self.preprocessor = types.SimpleNamespace(
            max_image_px=50_000_000, modalities=modalities, image_size_px=32
        )
        self.model = types.SimpleNamespace(activation="softmax")
        self.images, self.texts = [], []

    def predict_source(self, source):
        modalities = self.preprocessor.modalities
        self.images = [self._decode(image) for image in source.images]
        self.texts = list(source.texts)
        labels = [
            WORDS.index(text)
            if text in WORDS and modalities != "image"
            else int(image is not None and image[0, 0].mean() > 127)
            for image, text in zip(self.images, self.texts, strict=True)
        ]
        return types.SimpleNamespace(probabilities=np.eye(2)[labels])

    @staticmethod
    def _decode(image):
        return np.array(PIL.Image.open(io.BytesIO(image))) if image else None


def encode(value, side=40):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def make_split(make_collected, reader, rows=40, **changes):
    labels = np.arange(rows) % 2
    options = {
        "texts": [WORDS[label] for label in labels],
        "images": [encode(30 + 190 * label) for label in labels],
    }
    return make_collected(
        labels,
        np.eye(2)[labels] * 0.8 + 0.1,
        predictor=reader,
        **{**options, **changes},
    )


def get_levels(section, kind, name):
    return next(row["levels"] for row in section[kind] if row["name"] == name)


def test_a_wrong_caption_misleads_who_reads_it(make_collected):
    section = make_robustness(make_split(make_collected, Reader()))
    assert section["clean"] == {"accuracy": 1.0, "interval": [1.0, 1.0]}
    (level,) = get_levels(section, "text", "wrong caption")
    assert level["accuracy"] == 0 and level["drop"] == 1
    assert level["drop_interval"] == [1, 1]
    (level,) = get_levels(section, "text", "no text")
    assert level["drop"] == 0  # the image tells
    names = [row["name"] for row in section["text"]]
    assert names[:3] == ["typos", "words dropped", "words shuffled"]
    assert [len(row["levels"]) for row in section["image"]] == [3] * 6
    assert section["count"] == section["of"] == 40


def test_who_reads_images_alone_sees_them_corrupted(make_collected):
    section = make_robustness(make_split(make_collected, Reader("image")))
    assert section["text"] == []
    drops = [level["drop"] for level in get_levels(section, "image", "brightness")]
    # Dark is 30; with 0.5 of the range added it is 157, and all dark rows are wrong.
    assert drops == [0, 0, 0.5]
    low, high = get_levels(section, "image", "brightness")[2]["drop_interval"]
    assert 0.3 < low < 0.5 < high < 0.7
    assert get_levels(section, "image", "brightness")[2]["severity"] == 3


def test_who_reads_texts_alone_is_shown_no_image(make_collected):
    reader = Reader("text")
    section = make_robustness(make_split(make_collected, reader))
    assert section["image"] == [] and set(reader.images) == {None}
    assert not any("scaled" in note for note in section["notes"])
    assert get_levels(section, "text", "no text")[0]["accuracy"] == 0.5


def test_images_are_corrupted_at_the_size_that_is_said(make_collected):
    reader = Reader()
    images = [encode(100, 500), encode(100, 100)]
    make_robustness(make_split(make_collected, reader, rows=2, images=images))
    assert [image.shape for image in reader.images[:2]] == [
        (224, 224, 3),
        (100, 100, 3),
    ]
    assert (reader.images[0] == 100).all()  # clean
    noisy = reader.images[2 * 4]  # trials: clean, three of blur, then noise
    assert noisy.std() == pytest.approx(0.08 * 255, rel=0.1)


def test_what_is_missing_stays_missing(make_collected):
    texts = ["", *[WORDS[i % 2] for i in range(1, 40)]]
    images = [encode(30 + 190 * (i % 2)) for i in range(39)] + [b""]
    sizes = np.full((40, 2), 40)
    sizes[39] = 0
    reader = Reader()
    split = make_split(make_collected, reader, texts=texts, images=images, sizes=sizes)
    section = make_robustness(split)
    assert not any(reader.texts[::40]) and reader.images[39] is None
    assert all(image is None for image in reader.images[39::40])
    assert "1 of the rows have no usable image; it stays missing." in section["notes"]
    assert "1 of the rows have no usable text; it stays missing." in section["notes"]


def test_rows_are_drawn_and_damaged_by_the_seed(make_collected):
    texts = [f"number {i} of some words" for i in range(40)]
    readers = [Reader() for _ in range(4)]
    seeds_and_rows = [(0, 10), (0, 10), (1, 10), (0, 40)]
    for reader, (seed, rows) in zip(readers, seeds_and_rows, strict=True):
        split = make_split(make_collected, reader, texts=texts)
        section = make_robustness(split, rows, seed)
        assert section["count"] == rows
        notes = " ".join(section["notes"])
        assert (f"Measured on {rows} of 40 rows" in notes) == (rows < 40)
    first, again, other, whole = (reader.texts for reader in readers)
    assert first == again and first != other
    # A row is damaged as it is among all.
    kept = [whole.index(text) for text in first[:10]]
    for trial in range(27):  # but for the wrong captions, which other rows give
        expected = [whole[trial * 40 + place] for place in kept]
        if trial != 26:
            assert first[trial * 10 : trial * 10 + 10] == expected


def test_rows_are_damaged_each_in_its_way(make_collected):
    reader = Reader()
    make_robustness(make_split(make_collected, reader, texts=["some words"] * 40))
    typos = reader.texts[19 * 40 : 20 * 40]  # behind clean and 18 of images
    assert len(set(typos)) > 20
    noisy = reader.images[4 * 40 : 5 * 40 : 2]  # all of the same grey
    assert len({image.tobytes() for image in noisy}) == 20


def test_an_image_that_the_model_refuses_is_not_tried(make_collected):
    reader = Reader()
    status = np.array(["image_too_large"] + ["ok"] * 39, object)
    make_robustness(make_split(make_collected, reader, status=status))
    assert all(image is None for image in reader.images[::40])
    assert reader.images[1] is not None


def test_rows_count_by_their_weight_and_sets_as_a_whole(make_collected):
    truth = np.array([[1, 0], [0, 1]] * 10)
    reader = Reader()
    reader.model.activation = "sigmoid"
    collected = make_collected(
        truth,
        truth * 0.8 + 0.1,
        texts=list(WORDS) * 10,
        images=[encode(30), encode(220)] * 10,
        predictor=reader,
        weights=np.array([1, 3] * 10, np.float32),
    )
    section = make_robustness(collected)
    assert section["clean"]["accuracy"] == 1
    assert get_levels(section, "text", "wrong caption")[0]["accuracy"] == 0
    collected.predictor.preprocessor.modalities = "text"
    assert get_levels(make_robustness(collected), "text", "no text")[0][
        "accuracy"
    ] == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["small_run", "image_run", "multi_label_run"])
def test_a_run_is_tried(name, request):
    run = read_run(request.getfixturevalue(name))
    collected = collect(Predictor.from_run(run.run_dir), load_run_source(run), "test")
    section = make_robustness(collected)
    kinds = {"image"} if name == "image_run" else {"image", "text"}
    assert {kind for kind in ("image", "text") if section[kind]} == kinds
    assert section["count"] == 7
    notes = " ".join(section["notes"])
    assert "3 of the rows have no usable image" in notes
    assert ("2 of the rows have no usable text" in notes) == (name != "image_run")
    again = make_robustness(dataclasses.replace(collected))
    assert again == section
