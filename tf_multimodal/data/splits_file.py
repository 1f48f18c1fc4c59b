"""splits.csv of a run: which rows it trains, validates and tests on."""

import csv
import dataclasses
import pathlib
import sys

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.source import Source

COLUMNS = ("id", "split", "label", "group")


class SplitsError(ValueError):
    """The file cannot be used, or does not fit the data; the message says why."""


def write_splits(path: str | pathlib.Path, source: Source) -> None:
    """Writes id, split, label and group of every row of a source."""
    with (
        write_atomically(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        labels = [source.classes[label] for label in source.labels]
        writer.writerows(
            zip(source.ids, source.splits, labels, source.groups, strict=True)
        )


def read_splits(path: str | pathlib.Path) -> dict[str, str]:
    """Returns the split of every row by its id.

    Raises:
        SplitsError: the file is missing or not such a file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise SplitsError(
            f"There is no {path}: which rows were trained on is not known, so that "
            "no split can be evaluated."
        )
    splits: dict[str, str] = {}
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"id", "split"} <= set(reader.fieldnames or ()):
            raise SplitsError(
                f"{path} must have the columns id and split. Received: "
                f"{reader.fieldnames}"
            )
        for row in reader:
            if row["split"] not in spec.SPLITS:
                raise SplitsError(
                    f"{path}, line {reader.line_num}: the split must be one of "
                    f"{', '.join(spec.SPLITS)}. Received: {row['split']!r}"
                )
            splits[row["id"]] = row["split"]
    return splits


def pin_splits(
    source: Source, classes: tuple[str, ...], path: str | pathlib.Path
) -> Source:
    """Returns a source with the splits that a run began with.

    Rows that the run did not know belong to no split; they are counted on stderr.

    Args:
        source: the rows as they are now.
        classes: the run's.
        path: the run's splits.csv.

    Raises:
        SplitsError: rows of the run are missing, or the classes are others.
    """
    if source.classes != classes:
        raise SplitsError(
            f"The classes of {source.name} are not those of the run of {path}. "
            f"Expected {', '.join(classes)}. Received {', '.join(source.classes)}."
        )
    known = read_splits(path)
    missing = sorted(known.keys() - set(source.ids))
    if missing:
        raise SplitsError(
            f"{len(missing)} of the {len(known)} rows in {path} are not in "
            f"{source.name}, among them {', '.join(missing[:3])}. Use the data that "
            "the run was trained on."
        )
    splits = np.array([known.get(i, "") for i in source.ids], object)
    unknown = int((splits == "").sum())
    if unknown:
        print(
            f"{unknown} rows of {source.name} were not there when the run was "
            "trained; they are left out.",
            file=sys.stderr,
        )
    return dataclasses.replace(source, splits=splits)
