"""A cleaned copy of a manifest, split by groups, and the rows that are not in it."""

import contextlib
import csv
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from tf_multimodal.data import duplicates, files, spec
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.audit.checkup import Checkup
from tf_multimodal.data.audit.finding import list_labels
from tf_multimodal.data.audit.image_groups import find_image_pairs
from tf_multimodal.data.manifest_file import open_manifest
from tf_multimodal.data.raw_rows import Problem
from tf_multimodal.data.readers.cells import get_field, to_cell
from tf_multimodal.data.source import Source
from tf_multimodal.data.split import assign_splits

REMOVED_COLUMNS = ("row", "id", "file", "reason")


@dataclasses.dataclass(frozen=True)
class FixedManifest:
    """What a `ManifestCleaner` wrote; `kept` and `removed` are all rows read."""

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


class ManifestCleaner:
    """Makes a cleaned copy of the manifest of a config, once it has been audited.

    Two files stand beside the manifest then: NAME.fixed.SUFFIX, of its format and with
    its columns and those of split and group, and NAME.removed.csv with row, id, file
    and reason of the other rows. Rows are removed that cannot be read, that the class
    map leaves out, whose image or text cannot be used, that have neither, or that
    repeat another row in image, text and label. Without a split column the rows are
    split anew by groups of near-duplicates; with one, a group that crosses splits goes
    to the first of train, validation and test that it has a row in.

    Make one before the audit, which takes long: it checks what can be checked, and
    remembers the state of the manifest.

    Args:
        config: the config whose `data.manifest` is audited.
        overwrite: replace files of an earlier run.

    Raises:
        FileExistsError: there is such a file already.
        ValueError: the source is no single manifest on this machine.
    """

    def __init__(
        self, config: ml_collections.ConfigDict, overwrite: bool = False
    ) -> None:
        self._config = config
        self._path = path = _find_manifest(config.data)
        self._fixed_path = path.with_name(f"{path.stem}.fixed{path.suffix}")
        self._removed_path = path.with_name(f"{path.stem}.removed.csv")
        self._state = self._compute_state()
        self._file = open_manifest(path)
        columns = self._file.list_columns()
        names = config.data.columns
        self._split = names.split or _choose_name("split", columns)
        self._group = names.group or _choose_name("group", columns)
        for new in (self._fixed_path, self._removed_path):
            if new.exists() and not overwrite:
                raise FileExistsError(
                    f"{new} is there already. Move it away, or give --overwrite to "
                    "have it replaced."
                )

    def write(self, checkup: Checkup) -> FixedManifest:
        """Writes both files.

        Args:
            checkup: what was found.

        Raises:
            ValueError: the manifest has changed since the audit began.
        """
        source = checkup.source
        reasons = _list_removed(checkup)
        groups = _group_rows(checkup)
        kept = np.setdiff1d(np.arange(len(source)), np.array(sorted(reasons), np.int64))
        splits = _split_rows(self._config, source, groups, kept)
        places = (splits[kept].tolist(), groups[kept].tolist())
        new = dict(
            zip(source.rows[kept].tolist(), zip(*places, strict=True), strict=True)
        )
        removed = _describe_removed(source, reasons)
        columns = (self._split, self._group)
        with _open_table(self._removed_path) as other:
            other.writerow(REMOVED_COLUMNS)
            rows = self._choose_rows(new, removed, source.excluded, other)
            self._file.write_rows(self._fixed_path, columns, rows)
        num_removed = len(removed) + source.excluded
        return FixedManifest(
            self._fixed_path, self._removed_path, len(kept), num_removed, *columns
        )

    def _choose_rows(
        self,
        new: Mapping[int, tuple[str, str]],
        removed: Mapping[int, tuple[int, str, str, str]],
        num_excluded: int,
        other: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yields the rows to keep, and writes the others to `other`.

        Args:
            new: split and group of the rows to keep, by row.
            removed: cells of `REMOVED_COLUMNS` of rows that are not kept, by row.
            num_excluded: how many rows are in neither, left out by the class map.
            other: a CSV writer.
        """
        self._check_state()
        for found in self._file.read_rows():
            row = found[0]
            cells = {} if isinstance(found, Problem) else found[1]
            if row in new:
                yield {**cells, self._split: new[row][0], self._group: new[row][1]}
            elif row in removed:
                other.writerow(removed[row])
            else:
                other.writerow(_describe_excluded(self._config.data, row, cells))
                num_excluded -= 1
        self._check_state()
        if num_excluded:
            raise ValueError(
                f"{self._path} does not have the rows that were audited. Remove the "
                f"folder {self._config.cache_dir}/rows and run the audit again."
            )

    def _compute_state(self) -> str:
        return files.compute_fingerprint([str(self._path)])

    def _check_state(self) -> None:
        if self._compute_state() != self._state:
            raise ValueError(
                f"{self._path} has changed since the audit began. Run it again."
            )


def _find_manifest(data: ml_collections.ConfigDict) -> Path:
    """Returns the path of the one manifest that a config reads."""
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
    return Path(paths[0])


def _describe_excluded(
    data: ml_collections.ConfigDict, row: int, cells: Mapping[str, Any]
) -> tuple[int, str, str, str]:
    """Returns the cells of `REMOVED_COLUMNS` of a row that the class map leaves out."""
    names = data.columns

    def get_text(column: str) -> str:
        cell = to_cell(get_field(cells, column)) if column else None
        return cell if isinstance(cell, str) else ""

    label = to_cell(get_field(cells, names.labels or names.label))
    file = get_text(names.image) if data.image_encoding == "path" else ""
    reason = f"{data.class_map} leaves rows of the label {label!r} out."
    return row, get_text(names.id), file, reason


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
