"""Which data a configuration asks for, read, checked and described."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from tf_multimodal.config import get_default_config
from tf_multimodal.data import columns, files, spec
from tf_multimodal.data.ingest import IngestSettings, ingest_rows
from tf_multimodal.data.labels import make_label_masker
from tf_multimodal.data.raw_rows import Reader
from tf_multimodal.data.source import Source
from tf_multimodal.data.source_description import describe_source
from tf_multimodal.data.source_mixture import MixturePart, join_sources

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
        parts = {n: _read_part(part, config) for n, part in data.mixture.items()}
        source = join_sources(parts, data.class_map, data.compare_images)
    else:
        source = _read_part(data, config).source
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
        holds_paths = bool(data.columns.image) and data.image_encoding == "path"
        return open_manifest(data.manifest, holds_paths=holds_paths)
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


def open_manifest(
    pattern: str, setting: str = SETTING, holds_paths: bool = False
) -> Reader:
    """Returns the reader of a table, or of all that a pattern finds, by its suffix.

    Args:
        pattern: path or URL of a .csv, .tsv, .tab, .jsonl, .ndjson or .parquet file, or
            a pattern of such files of one kind.
        setting: what the messages say to set.
        holds_paths: whether images are paths, which are relative to the one folder
            that all files must be in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the files are of another kind, of several, or in several folders.
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
    other = next((p for p in paths if files.get_folder(p) != root), None)
    if holds_paths and other is not None:
        raise ValueError(
            f"{pattern} finds files in several folders, {paths[0]} and {other}, but "
            "image paths are relative to one folder. Name the files of one folder in "
            f"{setting}, make each folder a part of config.data.mixture, or move the "
            "files into the folder above, with image paths that start there."
        )
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
    is_tfds, is_manifest = bool(part.tfds.name), bool(part.manifest)
    if is_tfds:  # its splits are the builder's
        chosen["split"] = chosen["split"] or "split"
    if own := getattr(reader, "columns", None):  # records say how they were written
        default = get_default_config().data.columns
        chosen |= {k: v for k, v in own.items() if chosen.get(k) == default.get(k)}
    captions = tuple(chosen.pop("captions"))
    class_map = part.class_map or data.class_map
    list_classes = getattr(reader, "list_classes", None)
    if classes is None and list_classes and not class_map:
        classes = list_classes(chosen["labels"] or chosen["label"])
    classes = classes or getattr(reader, "classes", None)
    return IngestSettings(
        columns=chosen,
        captions=captions,
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


def _read_part(part: Any, config: Any) -> MixturePart:
    reader = open_reader(part, config.cache_dir)
    settings = make_settings(config.data, part, reader)
    text = "text" if settings.text_template else settings.columns["text"]
    return MixturePart(
        ingest_rows(reader, settings, config.cache_dir),
        part.get("weight", 1.0),
        text_name=text,
        has_own_splits=bool(settings.columns["split"]),
        is_remote=bool(files.get_scheme(reader.root)),
    )


def _mask_label_words(source: Source) -> Source:
    mask_words = make_label_masker(source.classes)

    def mask(text: str | bytes) -> str | bytes:  # bytes are not UTF-8: the row is named
        return mask_words(text) if isinstance(text, str) else text

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
