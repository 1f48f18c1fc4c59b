"""A cleaned copy of a manifest, split by groups, and the rows that are not in it."""

import contextlib
import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from tf_multimodal.data import duplicates, files, spec
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.audit.checkup import Checkup
from tf_multimodal.data.audit.finding import list_labels
from tf_multimodal.data.audit.image_groups import find_image_pairs
from tf_multimodal.data.raw_rows import Reader
from tf_multimodal.data.source import Source
from tf_multimodal.data.split import assign_splits

REMOVED_COLUMNS = ("row", "id", "file", "reason")


@dataclasses.dataclass(frozen=True)
class FixedManifest:
    """What `write_fixed_manifest` wrote; `kept` and `removed` are all rows read."""

    path: Path
    removed_path: Path
    kept: int
    removed: int
    split_column: str
    group_column: str

    def describe(self) -> str:
        """Returns what was written and how to train on it."""
        return (
            f"Of {self.kept + self.removed} rows {self.kept} are in {self.path} and "
            f"{self.removed} in {self.removed_path}, each with its reason. Train with\n"
            f"  --config.data.manifest={self.path} "
            f"--config.data.columns.split={self.split_column} "
            f"--config.data.columns.group={self.group_column}"
        )


def check_fixable(config: ml_collections.ConfigDict) -> None:
    """Checks that the source is one manifest of plain cells on this machine.

    Raises:
        ValueError: it is something else; says what.
    """
    data = config.data
    if not data.manifest:
        raise ValueError(
            "--fix cleans a manifest, and config.data.manifest is not set. The report "
            "alone can be had of every source: leave --fix out."
        )
    paths = files.list_files(data.manifest)
    if len(paths) > 1 or files.get_scheme(paths[0]):
        raise ValueError(
            "--fix cleans one manifest on this machine, so that the new one stands "
            f"beside it. config.data.manifest={data.manifest!r} is {len(paths)} "
            f"file{'s' if len(paths) > 1 else ''}, the first {paths[0]}."
        )
    if data.image_encoding == "bytes":
        raise ValueError(
            "--fix writes a CSV file, which cannot hold images as bytes: "
            "config.data.image_encoding='bytes'. Leave --fix out."
        )


def write_fixed_manifest(
    config: ml_collections.ConfigDict, checkup: Checkup
) -> FixedManifest:
    """Writes MANIFEST.fixed.csv and MANIFEST.removed.csv beside a manifest.

    The first has the columns of the manifest, and those of split and group; the second
    row, id, file and reason. Rows are removed that cannot be read, whose image or text
    cannot be used, that have neither, or that repeat another row in image, text and
    label. Without a split column the rows are split anew by groups of near-duplicates;
    with one, a group that crosses splits goes to the first of train, validation and
    test that it has a row in.

    Args:
        config: the config whose `data.manifest` was audited.
        checkup: what was found.

    Raises:
        ValueError: the source is no such manifest, or has changed meanwhile.
    """
    from tf_multimodal.data.sources import open_reader

    check_fixable(config)
    source = checkup.source
    reasons = _list_removed(checkup)
    removed = _describe_removed(source, reasons)
    places = {int(row): index for index, row in enumerate(source.rows)}
    groups = _group_rows(checkup)
    kept = np.setdiff1d(np.arange(len(source)), np.array(sorted(reasons), np.int64))
    splits = _split_rows(config, source, groups, kept)
    reader = open_reader(config.data, config.cache_dir)
    columns = reader.list_columns()
    split_column = config.data.columns.split or _choose_name("split", columns)
    group_column = config.data.columns.group or _choose_name("group", columns)
    header = [*columns]
    header += [name for name in (split_column, group_column) if name not in header]

    path = Path(files.list_files(config.data.manifest)[0])
    fixed_path = path.with_name(f"{path.stem}.fixed.csv")
    removed_path = path.with_name(f"{path.stem}.removed.csv")
    kept_count = removed_count = 0
    with _open_table(fixed_path) as fixed, _open_table(removed_path) as other:
        fixed.writerow(header)
        other.writerow(REMOVED_COLUMNS)
        for row, values in _match_rows(source, reader, columns):
            if row in removed:
                other.writerow(removed[row])
                removed_count += 1
                continue
            values[split_column] = splits[places[row]]
            values[group_column] = groups[places[row]]
            fixed.writerow([_to_text(values[name], name, row) for name in header])
            kept_count += 1
    return FixedManifest(
        fixed_path, removed_path, kept_count, removed_count, split_column, group_column
    )


def _match_rows(
    source: Source, reader: Reader, columns: list[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields line and cells of every row; a row that cannot be read has none.

    Raises:
        ValueError: the manifest has other rows than the source was made of.
    """
    known = {*source.rows.tolist(), *(row.row for row in source.left_out)}
    count = 0
    for block in reader.read_rows(columns):
        found: dict[int, dict[str, Any]] = {p.row: {} for p in block.problems}
        for place, row in enumerate(block.rows):
            found[row] = {name: block.values[name][place] for name in columns}
        count += len(found)
        yield from ((row, found[row]) for row in sorted(found) if row in known)
    if count != len(known):
        raise ValueError(
            f"{source.name} has changed: it had {len(known)} rows, and now has "
            f"{count}. Run the audit again."
        )


def _describe_removed(
    source: Source, reasons: dict[int, str]
) -> dict[int, tuple[int, str, str, str]]:
    """Returns the cells of `REMOVED_COLUMNS` by line, left out rows among them."""
    lines = {
        row.row: (row.row, row.id, row.file, row.reason) for row in source.left_out
    }
    for index, reason in reasons.items():
        row = int(source.rows[index])
        lines[row] = (row, source.ids[index], source.files[index], reason)
    return lines


def _list_removed(checkup: Checkup) -> dict[int, str]:
    """Returns the reason of each row of the source that is not kept, by position."""
    source, facts = checkup.source, checkup.image_facts
    removed = dict(facts.reasons)
    for found in checkup.findings["texts"]:
        if found.kind == "undecodable_text":
            is_bad = checkup.text_facts.chars < 0
            for index in np.unique(checkup.text_facts.rows[is_bad]).tolist():
                removed.setdefault(index, "The text is not UTF-8.")
    without_text = np.union1d(
        checkup.text_facts.missing, checkup.text_facts.only_spaces
    )
    for index in without_text.tolist():
        if facts.status[index] == spec.MISSING_INPUT:
            removed.setdefault(index, "There is neither an image nor a text.")
    texts: dict[int, list[int]] = {}
    for row, digest in zip(
        checkup.text_facts.rows.tolist(),
        checkup.text_facts.digests.tolist(),
        strict=True,
    ):
        texts.setdefault(row, []).append(digest)
    first: dict[tuple[Any, ...], int] = {}
    for index in range(len(source)):
        if index in removed:
            continue
        key = (
            int(facts.digests[index]),
            tuple(texts.get(index, ())),
            tuple(list_labels(source, index)),
        )
        other = first.setdefault(key, index)
        if other != index:
            removed[index] = (
                f"Row {source.rows[other]} has the same image, text and label."
            )
    return removed


def _group_rows(checkup: Checkup) -> np.ndarray:
    """Returns object [n] of str: the source's groups, near images joined."""
    source = checkup.source
    names = np.empty(len(source), object)
    names[:] = list(source.groups)
    pairs = [duplicates.pair_equal(names), find_image_pairs(checkup.image_facts)]
    components = duplicates.connect_rows(len(source), np.concatenate(pairs))
    return duplicates.name_groups(components, list(source.ids))


def _split_rows(
    config: ml_collections.ConfigDict,
    source: Source,
    groups: np.ndarray,
    kept: np.ndarray,
) -> np.ndarray:
    """Returns object [n] of str: the split of each row that is kept."""
    splits = np.full(len(source), "", object)
    if not config.data.columns.split:
        splits[kept] = assign_splits(
            source.labels[kept], groups[kept], config.data.split_fractions
        )
        return splits
    order = {name: place for place, name in enumerate(spec.SPLITS)}
    first: dict[str, str] = {}
    for index in kept.tolist():
        split = source.splits[index]
        best = first.setdefault(groups[index], split)
        first[groups[index]] = min(best, split, key=lambda name: order[name])
    splits[kept] = [first[group] for group in groups[kept]]
    return splits


def _choose_name(name: str, columns: list[str]) -> str:
    """Returns the name of a new column; what is there already stays."""
    return f"audit_{name}" if name in columns else name


def _to_text(value: Any, column: str, row: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(
        f"--fix writes a CSV file, whose cells hold a text or a number. Row {row}, "
        f"column {column!r} holds {type(value).__name__}. Leave --fix out."
    )


@contextlib.contextmanager
def _open_table(path: Path) -> Iterator[Any]:
    """Yields a CSV writer; the file appears when all is written."""
    with (
        write_atomically(path) as temporary,
        open(
            temporary, "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file,
    ):
        yield csv.writer(file)
