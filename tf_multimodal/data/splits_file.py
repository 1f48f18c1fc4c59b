"""splits.csv of a run: which rows it trains, validates and tests on."""

import csv
import dataclasses
import hashlib
import itertools
import operator
import pathlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.garbage_collection import pause_collection
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
        pause_collection(),
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        labels, fingerprints = _name_labels(source), _make_fingerprints(source)
        columns = source.ids, source.splits, labels, source.groups, fingerprints
        writer.writerows(zip(*columns, strict=True))


def read_splits(path: str | pathlib.Path) -> dict[str, PinnedRow]:
    """Returns the rows by their ids.

    Raises:
        SplitsError: the file is missing or not such a file.
    """
    return dict(_read_rows(path))


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
    with pause_collection():
        splits = _match_in_order(source, path)
    if splits is None:
        splits = _match_by_id(source, path)
    unknown = int((splits == "").sum())
    if unknown:
        print(
            f"{unknown} rows of {source.name} were not there when the run was "
            "trained; they are left out.",
            file=sys.stderr,
        )
    return dataclasses.replace(source, splits=splits)


def _read_rows(path: str | pathlib.Path) -> Iterator[tuple[str, PinnedRow]]:
    path = pathlib.Path(path)
    if not path.is_file():
        raise SplitsError(
            f"There is no {path}: which rows were trained on is not known, so that "
            "no split can be evaluated."
        )
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if not set(COLUMNS) <= set(header):
            raise SplitsError(
                f"{path} must have the columns {', '.join(COLUMNS)}. Received: {header}"
            )
        get_cells = operator.itemgetter(*map(header.index, ("id", *PinnedRow._fields)))
        for cells in reader:
            identity, split, label, fingerprint = get_cells(cells)
            if split not in spec.SPLITS:
                raise SplitsError(
                    f"{path}, line {reader.line_num}: the split must be one of "
                    f"{', '.join(spec.SPLITS)}. Received: {split!r}"
                )
            yield identity, PinnedRow(sys.intern(split), label, fingerprint)


def _match_in_order(source: Source, path: str | pathlib.Path) -> np.ndarray | None:
    """Returns the splits if the rows are those of the file, one by one; else None.

    So it is where nothing has changed, and no row need be held in memory.
    """
    splits = np.empty(len(source), object)
    now = zip(source.ids, _name_labels(source), _make_fingerprints(source), strict=True)
    pairs = itertools.zip_longest(_read_rows(path), now)
    for place, (pinned, row) in enumerate(pairs):
        if pinned is None or row is None:
            return None
        identity, (split, label, fingerprint) = pinned
        if row != (identity, label, fingerprint):
            return None
        splits[place] = split
    return splits


def _match_by_id(source: Source, path: str | pathlib.Path) -> np.ndarray:
    """Returns the splits of the rows by their ids; empty where a row is new."""
    known = read_splits(path)
    missing = sorted(known.keys() - set(source.ids))
    if missing:
        raise SplitsError(
            f"{len(missing)} of the {len(known)} rows in {path} are not in "
            f"{source.name}, among them {', '.join(missing[:NAMED])}. {ADVICE}"
        )
    _check_unchanged(source, known, path)
    splits = [known[i].split if i in known else "" for i in source.ids]
    return np.array(splits, object)


def _name_labels(source: Source) -> Iterator[str]:
    """Yields each row's class; of several their names joined, empty for none."""
    if source.label_sets is None:
        yield from map(source.classes.__getitem__, source.labels.tolist())
        return
    for index in range(len(source)):
        found = np.flatnonzero(source.label_sets.get(np.array([index]))[0])
        yield SEPARATOR.join(source.classes[label] for label in found)


def _make_fingerprints(source: Source) -> Iterator[str]:
    """Yields 12 hexadecimal digits a row: of the text alone, many rows are alike."""
    sha256 = hashlib.sha256
    for text, file in zip(source.texts, source.files, strict=True):
        row = f"{text!s}\x1f{file}"
        # Most are ASCII, where no argument is needed and none has to be handed over.
        data = row.encode() if row.isascii() else row.encode(errors="surrogatepass")
        yield sha256(data).hexdigest()[:12]


def _check_unchanged(
    source: Source, known: dict[str, PinnedRow], path: str | pathlib.Path
) -> None:
    changed = []
    rows = zip(
        source.ids, _name_labels(source), _make_fingerprints(source), strict=True
    )
    for identity, label, fingerprint in rows:
        row = PinnedRow("", label, fingerprint)
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
