"""Drawn shapes with captions: 480 pairs for tests, made in seconds, no download."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tf_multimodal.data import spec, split

SHAPES = ("circle", "square", "triangle")
PLACES = {
    "garden": ("pond", "lawn", "hedge", "stone", "fence", "flower"),
    "kitchen": ("plate", "tray", "lid", "cake", "towel", "spoon"),
}
FILLERS = ("a", "nice", "old", "photo", "of", "the", "my", "new", "small", "view")
CLASSES = tuple(f"{shape}_{place}" for shape in SHAPES for place in PLACES)
PAIRS_PER_CLASS = 80
IMAGE_SIZE_PX = 48
# Shares of pairs whose image or text says something else, or whose text is missing.
WRONG_SHAPE, WRONG_PLACE, NO_TEXT = 0.04, 0.04, 0.04
SEED = 20230401
SPLIT_FRACTIONS = (0.7, 0.15, 0.15)


class Shapes(tfds.core.GeneratorBasedBuilder):
    """The image tells the shape, the text the place, and the class is both."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3)
        return self.dataset_info_from_configs(
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=shape, encoding_format="png"),
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=CLASSES),
                    "id": tfds.features.Text(),
                    "group": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        examples = make_examples()
        labels = np.array([CLASSES.index(e["label"]) for e in examples])
        groups = np.array([e["group"] for e in examples], object)
        splits = split.assign_splits(labels, groups, SPLIT_FRACTIONS)
        return {
            name: self._generate_examples(examples, splits == name)
            for name in spec.SPLITS
        }

    def _generate_examples(
        self, examples: list[dict[str, Any]], chosen: np.ndarray
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in itertools.compress(examples, chosen):
            yield example["id"], example


def make_examples() -> list[dict[str, Any]]:
    """Returns all pairs, the same ones at every call."""
    rng = np.random.default_rng(SEED)
    examples = []
    for label in CLASSES:
        shape, place = label.split("_")
        for number in range(PAIRS_PER_CLASS):
            shown = rng.choice(SHAPES) if rng.random() < WRONG_SHAPE else shape
            told = rng.choice(list(PLACES)) if rng.random() < WRONG_PLACE else place
            text = "" if rng.random() < NO_TEXT else _make_caption(rng, told)
            name = f"{label}/{number:03d}"
            row = {"text": text, "label": label, "id": name, "group": name}
            examples.append({"image": _draw_shape(rng, shown)} | row)
    return examples


def _make_caption(rng: np.random.Generator, place: str) -> str:
    words = list(rng.choice(FILLERS, size=rng.integers(1, 5), replace=False))
    words.insert(rng.integers(0, len(words) + 1), rng.choice(PLACES[place]))
    return " ".join(words)


def _draw_shape(rng: np.random.Generator, shape: str) -> np.ndarray:
    """Returns uint8 [h, w, 3]: a dark shape of any hue on a light, noisy ground."""
    radius = IMAGE_SIZE_PX * rng.uniform(0.25, 0.4)
    center = IMAGE_SIZE_PX / 2 + rng.uniform(-5, 5, size=2)
    grid = np.indices((IMAGE_SIZE_PX, IMAGE_SIZE_PX)).astype(np.float64)
    y, x = (grid - center[:, None, None]) / radius
    inside = {
        "circle": x**2 + y**2 < 1,
        "square": np.maximum(abs(x), abs(y)) < 0.85,
        "triangle": (y < 0.75) & (y > 2 * abs(x) - 1),
    }[shape]
    ground, ink = rng.uniform(170, 255, size=3), rng.uniform(0, 140, size=3)
    image = np.where(inside[..., None], ink, ground)
    image += rng.normal(0, 8, size=image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
