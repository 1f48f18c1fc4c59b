"""Which data a configuration asks for, read, checked and described."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_multimodal.config import get_default_config
from tf_multimodal.data import columns, files, spec
from tf_multimodal.data.class_map import ClassMap
from tf_multimodal.data.ingest import IngestSettings, ingest_rows
from tf_multimodal.data.labels import mask_label_words
from tf_multimodal.data.raw_rows import Reader
from tf_multimodal.data.source import Column, LabelSets, Part, Source
from tf_multimodal.data.source_description import describe_source

SETTING = "config.data.manifest"
TABLES = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl"} | {
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def load_source(config: Any) -> Source:
    """Reads the rows that `config.data` asks for, from a cache where they are there.

    Prints what was chosen, three rows, and the rows of each class and split.

    Args:
        config: the whole configuration.

    Raises:
        FileNotFoundError, ValueError: as the reader and `ingest_rows` say; or there
            are no training rows, too few groups for an automatic split, or no row
            with a modality that the model reads.
    """
    data = config.data
    if data.mixture:
        parts = {name: _read_part(part, config) for name, part in data.mixture.items()}
        weights = {name: part.weight for name, part in data.mixture.items()}
        source = _join(parts, weights, data.class_map)
    else:
        source = _read_part(data, config)
    return finish_source(source, config)


def finish_source(source: Source, config: Any) -> Source:
    """Masks label words where the config says so, checks the rows and describes them.

    Raises:
        ValueError: as `load_source` says.
    """
    if config.data.mask_label_words:
        source = _mask_label_words(source)
    _check_splits(source, config.data)
    _check_modalities(source, config.model.modalities)
    describe_source(source)
    return source


def open_reader(data: Any, cache_dir: str) -> Reader:
    """Returns the reader of `config.data`, or of a part of a mixture.

    Args:
        data: exactly one of its sources is set.
        cache_dir: folder of prepared data sets.

    Raises:
        FileNotFoundError, ValueError: there is no such file, folder or data set.
    """
    if data.manifest:
        return open_manifest(data.manifest)
    if data.folder:
        from tf_multimodal.data.readers.class_folders import ClassFolders

        return ClassFolders(data.folder)
    if data.webdataset:
        from tf_multimodal.data.readers.webdataset import WebDataset

        return WebDataset(data.webdataset)
    if data.records:
        from tf_multimodal.data.readers.record_shards import RecordShards

        return RecordShards(data.records)
    if data.huggingface:
        from tf_multimodal.data.readers.huggingface import HuggingFaceFolder

        return HuggingFaceFolder(data.huggingface)
    from tf_multimodal.data.readers.tfds_builder import TfdsBuilder

    return TfdsBuilder(data.tfds.name, data.tfds.module, cache_dir)


def open_manifest(pattern: str, setting: str = SETTING) -> Reader:
    """Returns the reader of a table, or of all that a pattern finds, by its suffix.

    Args:
        pattern: path or URL of a .csv, .tsv, .tab, .jsonl, .ndjson or .parquet file, or
            a pattern of such files of one kind.
        setting: what the messages say to set.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the files are of another kind, or of several.
    """
    try:
        paths = files.list_files(os.fspath(pattern))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"There is no file {pattern}, which {setting} names. Set it to a CSV, "
            "TSV, JSON lines or Parquet file, or to a pattern of such files; relative "
            f"paths start at {os.getcwd()}."
        ) from error
    suffixes = {os.path.splitext(path)[1].lower() for path in paths}
    kinds = {TABLES.get(suffix, "") for suffix in suffixes}
    if len(kinds) != 1 or "" in kinds:
        raise ValueError(
            f"{pattern}: expected files that end in one of {', '.join(TABLES)}, all "
            f"of one kind. Received: {', '.join(sorted(suffixes))}"
        )
    name = os.path.basename(pattern)
    root = files.get_folder(paths[0])
    kind = kinds.pop()
    if kind == "csv":
        from tf_multimodal.data.readers.csv_table import CsvTable

        return CsvTable(paths, root, name)
    if kind == "jsonl":
        from tf_multimodal.data.readers.jsonl_table import JsonlTable

        return JsonlTable(paths, root, name)
    from tf_multimodal.data.readers.parquet_table import ParquetTable

    return ParquetTable(paths, root, name)


def make_settings(
    data: Any, part: Any, reader: Reader, classes: Sequence[str] | None = None
) -> IngestSettings:
    """Returns what to make of a reader's rows.

    Args:
        data: `config.data`.
        part: the same, or a part of its mixture.
        reader: of the part.
        classes: names in the order of the labels; None: the data's own.
    """
    chosen = part.columns.to_dict()
    captions = chosen.pop("captions")
    is_tfds, is_manifest = bool(part.tfds.name), bool(part.manifest)
    if is_tfds:  # its splits are the builder's
        chosen["split"] = chosen["split"] or "split"
    if own := getattr(reader, "columns", None):  # records say how they were written
        default = get_default_config().data.columns
        chosen |= {k: v for k, v in own.items() if chosen.get(k) == default.get(k)}
        captions = tuple(chosen.pop("captions", ()) or captions)
    class_map = part.class_map or data.class_map
    list_classes = getattr(reader, "list_classes", None)
    if classes is None and list_classes and not class_map:
        classes = list_classes(chosen["labels"] or chosen["label"])
    classes = classes or getattr(reader, "classes", None)
    return IngestSettings(
        columns=chosen,
        captions=tuple(captions),
        image_encoding=part.image_encoding if is_manifest else "any",
        text_template=part.text_template,
        label_separator=part.label_separator,
        class_map=class_map,
        bad_rows=data.bad_rows,
        max_drop_rate=data.max_drop_rate,
        compare_images=data.compare_images,
        split_fractions=tuple(data.split_fractions),
        max_image_px=data.max_image_px,
        classes=None if class_map or not classes else tuple(classes),
        completes_splits=is_tfds,
    )


def _read_part(part: Any, config: Any) -> Source:
    reader = open_reader(part, config.cache_dir)
    settings = make_settings(config.data, part, reader)
    return ingest_rows(reader, settings, config.cache_dir)


def _join(
    sources: dict[str, Source], weights: dict[str, float], class_map: str
) -> Source:
    """Returns the rows of all parts, one part after the other."""
    found = sorted({name for s in sources.values() for name in s.classes})
    order = ClassMap(class_map).classes if class_map else ()
    classes = (*(n for n in order if n in found), *(n for n in found if n not in order))
    numbers = {name: number for number, name in enumerate(classes)}
    parts, start, labels = [], 0, []
    for name, source in sources.items():
        parts.append(Part(name, weights[name], start, start + len(source)))
        start += len(source)
        to_number = np.array([numbers[c] for c in source.classes] + [-1], np.int32)
        labels.append(to_number[source.labels])
    each = list(sources.values())
    caption_names = max((s.caption_names for s in each), key=len)
    return Source(
        name=" + ".join(f"{name} ({s.name})" for name, s in sources.items()),
        classes=classes,
        images=columns.join_columns([s.images for s in each]),
        texts=columns.join_columns([s.texts for s in each]),
        labels=np.concatenate(labels),
        weights=np.concatenate([s.weights for s in each]),
        ids=_join_names(sources, "ids"),
        groups=_join_names(sources, "groups"),
        splits=np.concatenate([s.splits for s in each]),
        files=columns.join_columns([s.files for s in each]),
        rows=np.concatenate([s.rows for s in each]),
        captions=_join_captions(each, caption_names),
        caption_names=caption_names,
        label_sets=_join_label_sets(each, numbers),
        left_out=tuple(
            row._replace(id=row.id and f"{name}/{row.id}")
            for name, s in sources.items()
            for row in s.left_out
        ),
        excluded=sum(s.excluded for s in each),
        parts=tuple(parts),
        fingerprint="-".join(s.fingerprint for s in each),
    )


def _join_names(sources: dict[str, Source], column: str) -> columns.LazyColumn:
    def add_part(name: str, values: Column) -> columns.LazyColumn:
        return columns.map_column(lambda value: f"{name}/{value}", values)

    return columns.join_columns(
        [add_part(name, getattr(source, column)) for name, source in sources.items()]
    )


def _join_captions(
    sources: list[Source], names: tuple[str, ...]
) -> columns.LazyColumn | None:
    if not names:
        return None
    return columns.join_columns(
        [
            columns.map_column(
                lambda found: tuple(found) + ("",) * (len(names) - len(found)),
                source.captions
                if source.captions is not None
                else columns.map_column(lambda text: (text,), source.texts),
            )
            for source in sources
        ]
    )


def _join_label_sets(
    sources: list[Source], numbers: dict[str, int]
) -> LabelSets | None:
    """Returns the sets of all parts; a part with one label a row has sets of one."""
    if all(source.label_sets is None for source in sources):
        return None
    offsets, values = [np.zeros(1, np.int64)], []
    for source in sources:
        to_number = np.array([numbers[c] for c in source.classes], np.int32)
        sets = source.label_sets
        if sets is None:
            counts, found = np.ones(len(source), np.int64), source.labels
        else:
            counts, found = np.diff(sets.offsets), sets.values
        values.append(to_number[found])
        offsets.append(offsets[-1][-1] + np.cumsum(counts))
    return LabelSets(np.concatenate(offsets), np.concatenate(values), len(numbers))


def _mask_label_words(source: Source) -> Source:
    def mask(texts: Any) -> Any:
        return mask_label_words([texts], source.classes)[0]

    texts = columns.map_column(mask, source.texts)
    captions = source.captions
    if captions is not None:
        captions = columns.map_column(lambda row: tuple(map(mask, row)), captions)
    changed = sum(a != b for a, b in zip(texts, source.texts, strict=True))
    print(f"config.data.mask_label_words: {changed} of {len(source)} texts changed.")
    return dataclasses.replace(
        source,
        texts=texts,
        captions=captions,
        fingerprint=f"{source.fingerprint}-masked",
    )


def _check_splits(source: Source, data: Any) -> None:
    """Checks that there is something to train on, and that a split came out whole.

    Validation or test may be absent where the split is the user's own.
    """
    counts = {split: len(source.get_indices(split)) for split in spec.SPLITS}
    empty = [split for split in spec.SPLITS if not counts[split]]
    # Records have the splits that were made when they were written.
    own = [
        part.columns.split or ("split" if part.records else "")
        for part in data.mixture.values() or [data]
    ]
    if any(own):
        if "train" in empty:
            raise ValueError(
                f"{source.name} has no rows in the split 'train'. Rows: {counts}. Mark "
                f"some in the column {next(filter(None, own))!r}, or set "
                "config.data.columns.split to '' to have the rows split by "
                "config.data.split_fractions."
            )
    elif empty:
        raise ValueError(
            f"The automatic split of {source.name} leaves {' and '.join(empty)} empty: "
            f"its {len(source)} rows are {len(set(source.groups))} groups of "
            "near-duplicates (equal text, or nearly equal image), and a group stays in "
            f"one split. Rows: {counts}. Add rows that differ, or "
            + (
                "use a data set with splits of its own."
                if data.tfds.name
                else "split the rows yourself with a column and set "
                "config.data.columns.split to it."
            )
        )


def _check_modalities(source: Source, modalities: str) -> None:
    values = {"image": source.images, "text": source.texts}
    for modality in modalities.split("_"):
        if not any(map(bool, values[modality])):
            raise ValueError(
                f"config.model.modalities={modalities!r}, but no row of "
                f"{source.name} has {'an image' if modality == 'image' else 'a text'}. "
                f"Set config.data.columns.{modality}, or config.model.modalities to "
                f"{'text' if modality == 'image' else 'image'!r}."
            )
