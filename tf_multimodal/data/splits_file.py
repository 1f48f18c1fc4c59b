"""splits.csv of a run: which rows it trains, validates and tests on."""

import csv
import dataclasses
import hashlib
import pathlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.source import Source

COLUMNS = ("id", "split", "label", "group", "fingerprint")
SEPARATOR = "|"  # between the labels of a row
NAMED = 3  # rows that an error names
ADVICE = (
    "Use the data that the run was trained on. Rows without ids of their own go by "
    "their place in the data, which a line more or less moves: before a manifest "
    "changes, give it an id column (config.data.columns.id) and train with that."
)


class SplitsError(ValueError):
    """The file cannot be used, or does not fit the data; the message says why."""


class PinnedRow(NamedTuple):
    """What a run knows of a row; `fingerprint` is of its text and image file."""

    split: str
    label: str
    fingerprint: str


def write_splits(path: str | pathlib.Path, source: Source) -> None:
    """Writes id, split, label, group and fingerprint of every row of a source."""
    with (
        write_atomically(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for identity, group, row in zip(
            source.ids, source.groups, _make_rows(source), strict=True
        ):
            writer.writerow((identity, row.split, row.label, group, row.fingerprint))


def read_splits(path: str | pathlib.Path) -> dict[str, PinnedRow]:
    """Returns the rows by their ids.

    Raises:
        SplitsError: the file is missing or not such a file.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise SplitsError(
            f"There is no {path}: which rows were trained on is not known, so that "
            "no split can be evaluated."
        )
    rows: dict[str, PinnedRow] = {}
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not set(COLUMNS) <= set(reader.fieldnames or ()):
            raise SplitsError(
                f"{path} must have the columns {', '.join(COLUMNS)}. Received: "
                f"{reader.fieldnames}"
            )
        for row in reader:
            if row["split"] not in spec.SPLITS:
                raise SplitsError(
                    f"{path}, line {reader.line_num}: the split must be one of "
                    f"{', '.join(spec.SPLITS)}. Received: {row['split']!r}"
                )
            rows[row["id"]] = PinnedRow(*(row[key] for key in PinnedRow._fields))
    return rows


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
        SplitsError: rows of the run are missing or have another label, text or
            image file, or the classes are others.
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
            f"{source.name}, among them {', '.join(missing[:NAMED])}. {ADVICE}"
        )
    _check_unchanged(source, known, path)
    splits = np.array(
        [known[i].split if i in known else "" for i in source.ids], object
    )
    unknown = int((splits == "").sum())
    if unknown:
        print(
            f"{unknown} rows of {source.name} were not there when the run was "
            "trained; they are left out.",
            file=sys.stderr,
        )
    return dataclasses.replace(source, splits=splits)


def _make_rows(source: Source) -> Iterator[PinnedRow]:
    for index, (split, text, file) in enumerate(
        zip(source.splits, source.texts, source.files, strict=True)
    ):
        label = _name_labels(source, index)
        yield PinnedRow(split, label, _compute_fingerprint(text, file))


def _name_labels(source: Source, index: int) -> str:
    """Returns a row's class; of several their names joined, empty for none."""
    if source.label_sets is None:
        return source.classes[source.labels[index]]
    found = np.flatnonzero(source.label_sets.get(np.array([index]))[0])
    return SEPARATOR.join(source.classes[label] for label in found)


def _compute_fingerprint(text: str | bytes, file: str) -> str:
    """Returns 12 hexadecimal digits: of the text alone, rows without one are alike."""
    data = f"{text}\x1f{file}".encode(errors="surrogatepass")
    return hashlib.sha256(data).hexdigest()[:12]


def _check_unchanged(
    source: Source, known: dict[str, PinnedRow], path: str | pathlib.Path
) -> None:
    changed = []
    for identity, row in zip(source.ids, _make_rows(source), strict=True):
        old = known.get(identity, row)
        if old.label != row.label:
            changed.append(f"{identity} (label {old.label!r}, now {row.label!r})")
        elif old.fingerprint != row.fingerprint:
            changed.append(f"{identity} (text or image file)")
    if changed:
        raise SplitsError(
            f"{len(changed)} of the {len(known)} rows in {path} have changed in "
            f"{source.name}, among them {', '.join(changed[:NAMED])}. {ADVICE}"
        )
