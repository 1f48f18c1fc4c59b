"""A run's manifest read again for the columns that training made no use of."""

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tf_multimodal import config as config_lib
from tf_multimodal.data.raw_rows import Reader
from tf_multimodal.data.sources import make_settings, open_reader
from tf_multimodal.evaluation.report.collect import Collected

_ROLES = ("id", "image", "text", "label", "labels", "split", "weight", "group")
_MAX_VALUES = 20  # a column with more names no slices, unless they are numbers
_EMPTY = "(empty)"


def read_columns(collected: Collected) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the manifest's other columns: object [n] of str or None by name.

    Other kinds of sources have none here: to read them again may take as long as a
    pass of training.

    Args:
        collected: the split.

    Returns:
        The columns, and sentences on what could not be read.
    """
    config = collected.predictor.config
    if not config_lib.names_source(config.data):
        return {}, []
    ids = collected.source.ids[collected.index]
    positions = {row_id: place for place, row_id in enumerate(ids)}
    columns: dict[str, np.ndarray] = {}
    found = np.zeros(len(ids), bool)
    try:
        for block_ids, values in _read_manifests(config):
            places = np.array([positions.get(i, -1) for i in block_ids], np.int64)
            wanted = np.flatnonzero(places >= 0)
            if not len(wanted):
                continue
            found[places[wanted]] = True
            for name, cells in values.items():
                if name not in columns:
                    columns[name] = np.full(len(ids), None, object)
                texts = [_to_text(cells[place]) for place in wanted.tolist()]
                columns[name][places[wanted]] = texts
    except KeyError as error:  # some of pyarrow's are, too
        return {}, [f"The manifest's columns cannot be read: no column {error}."]
    except (OSError, ValueError, pa.ArrowException) as error:
        return {}, [f"The manifest's columns cannot be read: {error}"]
    notes = []
    if columns and not found.all():
        notes.append(
            f"{len(ids) - int(found.sum())} of {len(ids)} rows were not found in a "
            "manifest: no slice by a column has them."
        )
    return columns, notes


def make_bins(values: np.ndarray, bins: int = 4) -> tuple[np.ndarray, list[str]] | None:
    """Returns the slice of each value, int64 [n], and the slices' names.

    Numbers of more than `_MAX_VALUES` values are cut at quantiles; others are named as
    they stand.

    Args:
        values: object [n] of str; None: in no slice (-1).
        bins: at most so many of numbers.

    Returns:
        None where there are too many values, or only one.
    """
    known = np.array([value is not None for value in values], bool)
    names = sorted({str(value) or _EMPTY for value in values[known]})
    if len(names) < 2:
        return None
    if len(names) > _MAX_VALUES:
        numbers = np.array([_parse_number(value) for value in values], np.float64)
        is_empty = np.array([value == "" for value in values], bool)
        if not (np.isfinite(numbers) | is_empty | ~known).all():
            return None
        return cut_at_quantiles(numbers, bins, "")
    numbers_of = {name: number for number, name in enumerate(names)}
    codes = [-1 if v is None else numbers_of[str(v) or _EMPTY] for v in values]
    return np.array(codes, np.int64), names


def cut_at_quantiles(
    values: np.ndarray, bins: int, unit: str
) -> tuple[np.ndarray, list[str]] | None:
    """Returns the bin of each value, int64 [n], and the bins' names.

    Args:
        values: float [n]; NaN: in no bin (-1).
        bins: at most so many, of about as many values each.
        unit: of the values, for the names; a plural.

    Returns:
        None where all values are the same, or there is none.
    """
    known = np.isfinite(values)
    if not known.any():
        return None
    cuts = np.quantile(values[known], np.arange(1, bins) / bins, method="lower")
    codes = np.where(known, np.searchsorted(np.unique(cuts), values, "left"), -1)
    kept = np.unique(codes[known])
    if len(kept) < 2:
        return None
    codes = np.where(known, np.searchsorted(kept, codes), -1)
    names = []
    for number in range(len(kept)):
        chosen = values[codes == number]
        names.append(_name_range(chosen.min(), chosen.max(), unit))
    return codes, names


def _name_range(low: float, high: float, unit: str) -> str:
    ends = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if not unit:
        return ends
    return f"{ends} {unit.removesuffix('s') if low == high == 1 else unit}"


def _parse_number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan


def _read_manifests(config: Any) -> Iterator[tuple[list[str], dict[str, list[Any]]]]:
    """Yields blocks, ids and cells by column, of each manifest that config names."""
    data = config.data
    for name, part in data.mixture.items() or [("", data)]:
        if not part.manifest:
            continue
        reader = open_reader(part, config.cache_dir)
        settings = make_settings(data, part, reader)
        prefix = f"{name}/" if name else ""
        roles = {role: settings.columns.get(role, "") for role in _ROLES}
        taken = {*roles.values(), *settings.captions}
        header = reader.list_columns()
        others = [column for column in header if column not in taken]
        if not others:
            continue
        for ids, values in _read_blocks(reader, roles["id"], others):
            yield [f"{prefix}{row_id}" for row_id in ids], values


def _read_blocks(
    reader: Reader, id_column: str, others: list[str]
) -> Iterator[tuple[list[Any], dict[str, list[Any]]]]:
    """Yields ids, as `data.row_block` makes them, and cells by column."""
    paths = getattr(reader, "paths", ())
    start = os.path.commonprefix(paths).rpartition("/")[0] + "/"
    for raw in reader.read_rows([*([id_column] if id_column else []), *others]):
        file = raw.file.removeprefix(start) if len(paths) > 1 else ""
        lines = [f"{file}:{row}" if file else row for row in raw.rows]
        ids = raw.values[id_column] if id_column else lines
        yield ids, {name: raw.values[name] for name in others}


def _to_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value).strip()
