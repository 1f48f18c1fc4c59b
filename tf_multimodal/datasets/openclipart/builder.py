"""Clip art with its title: 12 topics, 2,828 pairs, public domain.

See docs/example_data.md.
"""

import itertools
import pathlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tf_multimodal.data import duplicates, labels, spec, split
from tf_multimodal.datasets.openclipart import package, rendering, selection

SPLIT_FRACTIONS = (0.7, 0.15, 0.15)


class Openclipart(tfds.core.GeneratorBasedBuilder):
    """The Open Clip Art Library: rendered SVG, the author's title, the folder."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = package.MANUAL_INSTRUCTIONS

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        return self.dataset_info_from_configs(
            description=__doc__,
            homepage="https://packages.debian.org/bookworm/openclipart-svg",
            license="Public domain",
            features=tfds.features.FeaturesDict(
                {
                    "image": image,
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=selection.CLASSES),
                    "id": tfds.features.Text(),
                    "group": tfds.features.Text(),
                }
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        path = _get_package(dl_manager)
        version = package.read_version(path)
        with tempfile.TemporaryDirectory() as folder:
            selected = selection.select_cliparts(package.unpack_package(path, folder))
            examples, failures = _make_examples(selected)
        splits = split.assign_splits(
            np.array([selection.CLASSES.index(e["label"]) for e in examples]),
            np.array([e["group"] for e in examples], object),
            SPLIT_FRACTIONS,
        )
        summary = {"package_version": version} | _summarize(examples, splits)
        summary |= {"excluded": selected.excluded, "failed": failures}
        self.info.metadata.update(summary)
        _print_summary(summary)
        return {
            name: self._generate_examples(examples, splits == name)
            for name in spec.SPLITS
        }

    def _generate_examples(
        self, examples: list[dict[str, Any]], chosen: np.ndarray
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for example in itertools.compress(examples, chosen):
            yield example["id"], example


def _get_package(dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
    """Returns the package: out of the manual folder, kept, or downloaded."""
    try:
        manual = pathlib.Path(dl_manager.manual_dir)
        advice = f"The manual folder {manual} holds no {package.FILE_PATTERN}."
        advice += f"\n{package.MANUAL_INSTRUCTIONS}"
    except AssertionError as error:  # TFDS: no such folder, or nothing in it
        manual, advice = None, str(error)
    if manual and (path := package.find_package(manual)):
        return path
    folder = pathlib.Path(dl_manager.download_dir) / package.PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    if path := package.find_package(folder):
        return path
    try:
        return package.download_package(folder)
    except RuntimeError as error:
        raise RuntimeError(f"{error}\n{advice}") from error


def _make_examples(
    selected: selection.Selection,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns the examples with their groups, and the reason of each failure."""
    print(f"openclipart: rendering {len(selected.cliparts)} files (about a minute) ...")
    examples: list[dict[str, Any]] = []
    hashes: list[bytes | None] = []
    failures = dict(selected.failures)
    for clipart in selected.cliparts:
        try:
            png, image = rendering.render_svg(clipart.path)
        except ValueError as error:
            failures[clipart.id] = str(error)
            continue
        hashes.append(duplicates.compute_dhash(image))
        row = {"text": clipart.title, "label": clipart.label, "id": clipart.id}
        examples.append({"image": png} | row)
    groups = duplicates.group_duplicates(
        [e["id"] for e in examples], [e["text"] for e in examples], hashes
    )
    for example, group in zip(examples, groups, strict=True):
        example["group"] = group
    return examples, failures


def _summarize(examples: list[dict[str, Any]], splits: np.ndarray) -> dict[str, Any]:
    by_label = Counter(e["label"] for e in examples)
    by_group = Counter(e["group"] for e in examples)
    own_word = [labels.contains_class_word(e["text"], e["label"]) for e in examples]
    return {
        "pairs": len(examples),
        "pairs_per_class": {name: by_label[name] for name in selection.CLASSES},
        "groups": len(by_group),
        "largest_group": max(by_group.values()),
        "own_class_word_percent": round(100 * sum(own_word) / len(own_word), 1),
        "splits": {name: int(np.sum(splits == name)) for name in spec.SPLITS},
    }


def _print_summary(summary: dict[str, Any]) -> None:
    for key, value in summary.items():
        if key == "failed":
            print(f"openclipart: {len(value)} files could not be used")
            for clipart_id, reason in value.items():
                print(f"  {clipart_id}: {reason}")
        else:
            text = value
            if isinstance(value, dict):
                text = ", ".join(f"{name} {count}" for name, count in value.items())
            print(f"openclipart: {key.replace('_', ' ')}: {text}")
