"""From the rows of a reader to a source: checked, named, grouped and split.

Rows pass through in blocks. What was made of them is kept as a table in the cache and
used again for as long as neither the files nor the settings change.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_multimodal.data import captions as captions_lib
from tf_multimodal.data import columns, files, spec
from tf_multimodal.data.class_map import ClassMap
from tf_multimodal.data.garbage_collection import pause_collection
from tf_multimodal.data.ingestion import Ingestion, name_reader
from tf_multimodal.data.raw_rows import Reader
from tf_multimodal.data.row_table import FACTS, RowTable
from tf_multimodal.data.source import LabelSets, LeftOutRow, Source

FORMAT = 3  # of the tables in the cache; another one is not read
_CACHED_NAMES = 4096  # of groups
_WRITING = "writing-"  # begins the name of a folder that is no table, or no longer
_ABANDONED_SECONDS = 24 * 3600  # without a change: its process was killed


class KeyNames(NamedTuple):
    """How messages call what chooses a source and, by role, its columns."""

    source: str = ""  # "": as the reader says
    column: str = "config.data.columns.{role}"


@dataclasses.dataclass(frozen=True)
class IngestSettings:
    """What is made of a reader's rows; the keys of `config.data` of the same names.

    Attributes:
        columns: column of each role: image, text, label, labels, split, weight, id and
            group; "" or no such key: there is none.
        captions: columns of captions, in place of a text.
        classes: names in the order of the labels; None: the class map's, else the
            sorted labels.
        needs_labels: False: neither label, split, weight nor group is read, labels are
            -1 and splits empty.
        completes_splits: take a split that is not there out of the training rows.
        optional: roles whose column may be missing, whatever `columns` says.
        names: what the messages say to set.
    """

    columns: Mapping[str, str]
    captions: tuple[str, ...] = ()
    image_encoding: str = "path"
    text_template: str = ""
    label_separator: str = "|"
    class_map: str = ""
    bad_rows: str = "raise"
    max_drop_rate: float = 0.0
    compare_images: str = "auto"
    split_fractions: tuple[float, ...] = (0.7, 0.15, 0.15)
    max_image_px: int = spec.MAX_IMAGE_PX
    classes: tuple[str, ...] | None = None
    needs_labels: bool = True
    completes_splits: bool = False
    optional: tuple[str, ...] = ()
    names: KeyNames = KeyNames()


def ingest_rows(
    reader: Reader, settings: IngestSettings, cache_dir: str | os.PathLike[str]
) -> Source:
    """Returns the rows of a reader, from the cache where they are there.

    Args:
        reader: the rows as they stand in a file.
        settings: what to make of them.
        cache_dir: folder of the tables.

    Raises:
        FileNotFoundError: there is no class map.
        ValueError: a column is missing, the labels make no classes, or more rows cannot
            be used than may be left out; names file, row and column.
    """
    settings = _find_columns(reader, settings)
    place = pathlib.Path(cache_dir, "rows", *_make_key(reader, settings))
    if not (place / FACTS).is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=_WRITING, dir=place.parent))
        try:
            texts = [column for _, column in _list_text_columns(settings)]
            with pause_collection():
                Ingestion(reader, settings, folder, texts).run()
            _move_into_place(folder, place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return _open_source(reader, RowTable(place))


def _find_columns(reader: Reader, settings: IngestSettings) -> IngestSettings:
    """Returns the settings with the columns that are there; checks that they are."""
    names, name = settings.names, name_reader(reader)
    wanted = {role: column for role, column in settings.columns.items() if column}
    if settings.captions or settings.text_template:
        wanted.pop("text", None)
    if not settings.needs_labels:
        wanted = {r: c for r, c in wanted.items() if r in ("image", "text", "id")}
    elif "labels" in wanted:
        wanted.pop("label", None)
    elif "label" not in wanted:
        raise ValueError(
            f"{name}: {names.column.format(role='label')} must name the column of the "
            "labels."
        )
    header = reader.list_columns()
    if not header:
        raise ValueError(
            f"{name} has no columns: it is empty, or none of its rows can be read."
        )
    for role, column in [*wanted.items(), *_list_text_columns(settings)]:
        if not _is_column(column, header) and role not in settings.optional:
            raise ValueError(
                f"{name} has no column {column!r} for the {role}. Its header: "
                f"{', '.join(map(repr, header))}. Set {names.column.format(role=role)} "
                "to one of these"
                + ("." if role == "label" else ", or to '' if there is none.")
            )
    found = {r: c for r, c in wanted.items() if _is_column(c, header)}
    roles = [r for r in ("image", "text") if r not in settings.optional]
    if not set(roles) & set(wanted) and not _list_text_columns(settings):
        keys = " or ".join(names.column.format(role=role) for role in roles)
        raise ValueError(f"{name}: set {keys} to a column of it.")
    return dataclasses.replace(settings, columns=found)


def _is_column(column: str, header: Sequence[str]) -> bool:
    # `jpg;png` of a WebDataset is whichever is there; so are fields of its JSON.
    return column in header or bool(set(column.split(";")) & set(header))


def _list_text_columns(settings: IngestSettings) -> list[tuple[str, str]]:
    """Returns role and column of what makes the texts, in place of one column."""
    if settings.captions:
        return [("captions", column) for column in settings.captions]
    if not settings.text_template:
        return []
    found = captions_lib.list_template_columns(settings.text_template)
    return [("text", column) for column in found]


def _make_key(reader: Reader, settings: IngestSettings) -> tuple[str, str]:
    """Returns the folder of a source's tables, and the name of one of them."""
    identity = "\0".join((reader.setting, reader.root, reader.name))
    folder = re.sub(r"[^\w.-]+", "_", reader.name)[:60] + "-" + _hash(identity)[:8]
    values = dataclasses.asdict(settings)
    names = [settings.class_map] if settings.class_map else []
    if names and not files.is_file(settings.class_map):
        ClassMap(settings.class_map)  # says what is wrong
    made_of = [FORMAT, values, files.compute_fingerprint(names)]
    state = _hash(reader.compute_fingerprint())[:16]
    return folder, f"{state}-{_hash(json.dumps(made_of, sort_keys=True))[:16]}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _move_into_place(folder: pathlib.Path, place: pathlib.Path) -> None:
    """Moves a table to its place, and removes what nobody will read."""
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():  # else another process was faster
            raise
    state = place.name.partition("-")[0]
    for old in place.parent.iterdir():
        if old.name.startswith(_WRITING):
            if _is_abandoned(old):
                shutil.rmtree(old, ignore_errors=True)
        elif not old.name.startswith(state):  # of files that have changed
            _remove(old)


def _is_abandoned(folder: pathlib.Path) -> bool:
    try:
        times = [path.stat().st_mtime for path in (folder, *folder.iterdir())]
    except OSError:  # another process has just moved it
        return False
    return time.time() - max(times) > _ABANDONED_SECONDS


def _remove(table: pathlib.Path) -> None:
    """Removes a table; who is stopped on the way leaves no part of one."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=_WRITING, dir=table.parent))
    try:
        table.rename(folder)
    except OSError:  # another process was faster
        pass
    shutil.rmtree(folder, ignore_errors=True)


def _open_source(reader: Reader, table: RowTable) -> Source:
    numbers, facts = table.numbers, table.facts
    labels, label_sets = numbers["labels"], None
    length = len(labels)
    ids = columns.read_texts(table, "id", length)
    if "label_offsets" in numbers:
        label_sets = LabelSets(
            numbers["label_offsets"], numbers["label_values"], len(facts["classes"])
        )
    captions = None
    if names := tuple(facts["caption_names"]):
        captions = columns.map_column(
            lambda found: found + ("",) * (len(names) - len(found)),
            columns.read_lists(table, "captions", length),
        )
    return Source(
        name=reader.name,
        classes=tuple(facts["classes"]),
        images=columns.read_images(table, reader.root, length),
        texts=columns.read_texts(table, "text", length),
        labels=labels,
        weights=numbers["weights"],
        ids=ids,
        groups=_open_groups(table, ids),
        splits=np.array(["", *spec.SPLITS], object)[numbers["splits"]],
        files=columns.read_texts(table, "file", length),
        rows=numbers["rows"],
        captions=captions,
        caption_names=names,
        label_sets=label_sets,
        left_out=tuple(LeftOutRow(*row) for row in facts["left_out"]),
        excluded=facts["excluded"],
        fingerprint=facts["fingerprint"],
    )


def _open_groups(table: RowTable, ids: columns.LazyColumn) -> columns.LazyColumn:
    if "group_rows" not in table.numbers:
        return columns.read_texts(table, "group", len(ids))
    heads = table.numbers["group_rows"]  # a group is called by the id of a row
    if np.array_equal(heads, np.arange(len(ids))):
        return ids
    get = functools.lru_cache(_CACHED_NAMES)(ids.__getitem__)

    def iterate() -> Iterator[Any]:
        for row, (row_id, head) in enumerate(zip(ids, heads.tolist(), strict=True)):
            yield row_id if head == row else get(head)

    return columns.LazyColumn(len(ids), lambda row: get(int(heads[row])), iterate)
