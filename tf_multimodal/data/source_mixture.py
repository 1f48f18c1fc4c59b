"""Several sources as one: the rows of a mixture, part after part."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from tf_multimodal.data import columns, duplicates, files, grouping, spec
from tf_multimodal.data.class_map import ClassMap
from tf_multimodal.data.ingestion import COMPARED_IMAGES
from tf_multimodal.data.source import Column, LabelSets, Part, Source

_CACHED_NAMES = 4096  # of groups


class MixturePart(NamedTuple):
    """A source that is to be joined with others.

    Attributes:
        source: its rows.
        weight: its share of the training rows that are drawn.
        text_name: what its texts are called among the captions of other parts; "": it
            has no texts.
        has_own_splits: whether its data say which row is in which split.
        is_remote: whether its images are fetched over a network.
    """

    source: Source
    weight: float
    text_name: str
    has_own_splits: bool
    is_remote: bool = False


def join_sources(
    parts: Mapping[str, MixturePart], class_map: str = "", compare_images: str = "auto"
) -> Source:
    """Returns the rows of all parts, one part after the other.

    Rows of different parts with an equal text or an equal image make one group. A row
    of it whose part was split automatically follows the others into their split: that
    of the first row whose part has its own splits, else of the first row. What still
    crosses splits is counted in a warning.

    Args:
        parts: by name.
        class_map: its classes come first, in its order; "": all are sorted.
        compare_images: `off`: by their texts alone; `auto`: by their images, too, up to
            `COMPARED_IMAGES` of them that are on this machine; `on`: always.
    """
    sources = {name: part.source for name, part in parts.items()}
    each = list(sources.values())
    classes = _order_classes(each, class_map)
    numbers = {name: number for number, name in enumerate(classes)}
    stops = np.cumsum([len(source) for source in each]).tolist()
    caption_names = _name_captions(parts)
    joined = Source(
        name=" + ".join(f"{name} ({s.name})" for name, s in sources.items()),
        classes=classes,
        images=columns.join_columns([s.images for s in each]),
        texts=columns.join_columns([s.texts for s in each]),
        labels=np.concatenate([_number_labels(s, numbers)[s.labels] for s in each]),
        weights=np.concatenate([s.weights for s in each]),
        ids=_join_names(sources, "ids"),
        groups=_join_names(sources, "groups"),
        splits=np.concatenate([s.splits for s in each]),
        files=columns.join_columns([s.files for s in each]),
        rows=np.concatenate([s.rows for s in each]),
        captions=_join_captions(parts, caption_names),
        caption_names=caption_names,
        label_sets=_join_label_sets(each, numbers),
        left_out=tuple(
            row._replace(id=row.id and f"{name}/{row.id}")
            for name, s in sources.items()
            for row in s.left_out
        ),
        excluded=sum(s.excluded for s in each),
        parts=tuple(
            Part(name, part.weight, stop - len(part.source), stop)
            for (name, part), stop in zip(parts.items(), stops, strict=True)
        ),
        fingerprint="-".join(s.fingerprint for s in each),
    )
    sizes = list(map(len, each))
    is_own = np.repeat([part.has_own_splits for part in parts.values()], sizes)
    is_remote = np.repeat([part.is_remote for part in parts.values()], sizes)
    with_images = _choose_images(joined, is_remote, compare_images)
    return _join_groups(joined, is_own, with_images)


def _order_classes(sources: list[Source], class_map: str) -> tuple[str, ...]:
    found = sorted({name for source in sources for name in source.classes})
    order = ClassMap(class_map).classes if class_map else ()
    first = [name for name in order if name in found]
    return (*first, *(name for name in found if name not in order))


def _number_labels(source: Source, numbers: Mapping[str, int]) -> np.ndarray:
    """Returns the number in the mixture of each label of a part, and last of -1."""
    return np.array([numbers[name] for name in source.classes] + [-1], np.int32)


def _join_names(sources: Mapping[str, Source], column: str) -> columns.LazyColumn:
    def add_part(name: str, values: Column) -> columns.LazyColumn:
        return columns.map_column(lambda value: f"{name}/{value}", values)

    return columns.join_columns(
        [add_part(name, getattr(source, column)) for name, source in sources.items()]
    )


def _name_captions(parts: Mapping[str, MixturePart]) -> tuple[str, ...]:
    """Returns the captions of all parts, in order; none where no part has several."""
    if not any(part.source.caption_names for part in parts.values()):
        return ()
    return tuple(dict.fromkeys(n for p in parts.values() for n in _list_texts(p)))


def _list_texts(part: MixturePart) -> tuple[str, ...]:
    if part.source.captions is not None:
        return part.source.caption_names
    return (part.text_name,) if part.text_name else ()


def _join_captions(
    parts: Mapping[str, MixturePart], names: tuple[str, ...]
) -> columns.LazyColumn | None:
    """Returns each caption at the place of its name; empty where a part lacks it."""
    if not names:
        return None

    def place(part: MixturePart) -> columns.LazyColumn:
        own = _list_texts(part)

        def fill(found: Any) -> tuple[str | bytes, ...]:
            texts = dict(zip(own, found, strict=True))
            return tuple(texts.get(name, "") for name in names)

        if part.source.captions is not None:
            return columns.map_column(fill, part.source.captions)
        return columns.map_column(lambda t: fill((t,)[: len(own)]), part.source.texts)

    return columns.join_columns([place(part) for part in parts.values()])


def _join_label_sets(
    sources: list[Source], numbers: Mapping[str, int]
) -> LabelSets | None:
    """Returns the sets of all parts; a part with one label a row has sets of one."""
    if all(source.label_sets is None for source in sources):
        return None
    offsets, values = [np.zeros(1, np.int64)], []
    for source in sources:
        sets = source.label_sets
        if sets is None:
            counts, found = np.ones(len(source), np.int64), source.labels
        else:
            counts, found = np.diff(sets.offsets), sets.values
        values.append(_number_labels(source, numbers)[found])
        offsets.append(offsets[-1][-1] + np.cumsum(counts))
    return LabelSets(np.concatenate(offsets), np.concatenate(values), len(numbers))


def _choose_images(
    source: Source, is_remote: np.ndarray, compare_images: str
) -> np.ndarray:
    """Returns the rows whose images are to be compared, int64 [m]."""
    if compare_images == "off":
        return np.zeros(0, np.int64)
    has_image = np.fromiter(map(bool, source.files), bool, len(source))
    if compare_images == "on":
        return np.flatnonzero(has_image)
    rows = np.flatnonzero(has_image & ~is_remote)
    if len(rows) <= COMPARED_IMAGES:
        return rows
    print(
        f"{source.name}: {len(rows)} images are too many to look for equal ones in "
        "several parts; equal texts are found. config.data.compare_images='on' looks "
        "for both."
    )
    return rows[:0]


def _join_groups(source: Source, is_own: np.ndarray, with_images: np.ndarray) -> Source:
    """Gives rows that different parts share one group and, where it can be, one split.

    Args:
        source: the joined rows.
        is_own: bool [n], rows whose split is not to be changed.
        with_images: int64 [m], rows whose images are compared.
    """
    sizes = [part.stop - part.start for part in source.parts]
    part_of = np.repeat(np.arange(len(sizes)), sizes)
    texts = _hash_shared_texts(source, part_of)
    images = _hash_shared_images(source, part_of, with_images)
    if not texts.any() and not images.any():
        return source
    groups = np.fromiter(map(hash, source.groups), np.int64, len(source))
    codes = grouping.find_groups(grouping.find_groups(groups, texts) + 1, images)
    rows = np.flatnonzero(_are_shared(codes + 1, part_of))
    # Of each group the row that the others follow: the first with a split of its own.
    order = rows[np.lexsort((rows, ~is_own[rows]))]
    found, first = np.unique(codes[order], return_index=True)
    followed = order[first][np.searchsorted(found, codes[rows])]
    heads = np.arange(len(source))
    heads[rows] = followed
    free, splits = ~is_own[rows], source.splits.copy()
    splits[rows[free]] = source.splits[followed[free]]
    moved = int(np.sum(splits != source.splits))
    print(
        f"{len(rows)} rows are in {len(found)} groups of equal texts or images in "
        f"several parts; {moved} of them went to another split, to stay together."
    )
    split_codes = np.array([1 + spec.SPLITS.index(s) for s in splits[rows]], np.int8)
    grouping.warn_of_leaks(
        source.name, codes[rows], split_codes, lambda place: source.ids[rows[place]]
    )
    return dataclasses.replace(
        source, groups=_follow(source.groups, heads), splits=splits
    )


def _hash_shared_texts(source: Source, part_of: np.ndarray) -> np.ndarray:
    """Returns int64 [n] that equal texts of several parts share; else 0."""
    keys = (
        hash(duplicates.normalize_text(text) if isinstance(text, str) else text)
        for text in source.texts
    )  # of no text it is 0
    found = np.fromiter(keys, np.int64, len(source))
    return np.where(_are_shared(found, part_of), found, 0)


def _hash_shared_images(
    source: Source, part_of: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Returns int64 [n] that equal images of several parts share; else 0."""
    lengths, keys = np.zeros((2, len(source)), np.int64)
    for row in rows.tolist():
        lengths[row] = _measure(source.images[row])
    # Most files are told apart by their length, and need not be read.
    for row in np.flatnonzero(_are_shared(lengths, part_of)).tolist():
        keys[row] = _hash_image(source.images[row])
    return np.where(_are_shared(keys, part_of), keys, 0)


def _measure(image: bytes | str) -> int:
    """Returns the length of an image; 0 where there is none, or none to be read."""
    if isinstance(image, bytes):
        return len(image)
    try:
        return files.get_status(image).size if image else 0
    except (OSError, ValueError):  # the pipeline names it
        return 0


def _hash_image(image: bytes | str) -> int:
    try:
        return hash(image if isinstance(image, bytes) else files.read_file(image))
    except OSError:
        return 0


def _are_shared(keys: np.ndarray, part_of: np.ndarray) -> np.ndarray:
    """Returns bool [n], whether rows of another part have a row's key, which is not 0.

    Args:
        keys: int64 [n].
        part_of: int64 [n], the number of each row's part, ascending.
    """
    found, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    last = np.zeros(len(found), np.int64)
    np.maximum.at(last, inverse, part_of)
    return ((part_of[first] != last) & (found != 0))[inverse]


def _follow(groups: Column, heads: np.ndarray) -> columns.LazyColumn:
    """Returns the group of each row's head."""
    get = functools.lru_cache(_CACHED_NAMES)(groups.__getitem__)

    def iterate() -> Iterator[Any]:
        for row, (name, head) in enumerate(zip(groups, heads.tolist(), strict=True)):
            yield name if head == row else get(head)

    return columns.LazyColumn(len(heads), lambda row: get(int(heads[row])), iterate)
