"""The same tiny pairs in the form of every source."""

import csv
import io
import json
import pathlib
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

ROWS = 120
CLASSES = ("bird", "cat", "dog")
WORDS = ("red", "old", "small", "quick", "wet", "grey", "tame")


def write_data(folder: pathlib.Path) -> None:
    """Writes all forms.

    Args:
        folder: to make and fill.
    """
    rows, images = write_files(folder)
    _write_hugging_face(folder / "huggingface", rows, images)
    _write_records(folder)


def write_files(folder: pathlib.Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Writes tables, class folders and tar shards, for which no package is needed.

    Args:
        folder: to make and fill.

    Returns:
        The rows, and the content of their images.
    """
    folder.mkdir(parents=True)
    rows = [_make_row(number) for number in range(ROWS)]
    images = [_encode_image(number) for number in range(ROWS)]
    _write_tables(folder, rows, images)
    _write_class_folders(folder / "folder", rows, images)
    _write_shards(folder / "shards", rows, images)
    return rows, images


def read_elements(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yields what a `tf.data.Dataset` of the rows holds: image, text and label."""
    with (folder / "pairs.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            image = (folder / row["image"]).read_bytes()
            yield {"image": image, "text": row["text"], "label": row["label"]}


def _make_row(number: int) -> dict[str, Any]:
    label = CLASSES[number % len(CLASSES)]
    word = WORDS[number % len(WORDS)]
    return {
        "image": f"images/{number}.png",
        "text": f"the {word} {label} of house {number}",
        "captions": [f"{label} {number} sleeps", f"a {word} {label}, number {number}"],
        "label": label,
        "labels": [label, *(["tame"] if word == "tame" else [])],
    }


def _encode_image(number: int) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _write_tables(
    folder: pathlib.Path, rows: list[dict[str, Any]], images: list[bytes]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "images").mkdir()
    for row, image in zip(rows, images, strict=True):
        (folder / row["image"]).write_bytes(image)
    keys = ("image", "text", "label")
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, keys, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
    columns = {key: [row[key] for row in rows] for key in ("text", "label")}
    table = pa.table({"image": images, **columns})
    pq.write_table(table.slice(0, ROWS // 2), folder / "pairs-0.parquet")
    pq.write_table(table.slice(ROWS // 2), folder / "pairs-1.parquet")


def _write_class_folders(
    folder: pathlib.Path, rows: list[dict[str, Any]], images: list[bytes]
) -> None:
    for number, (row, image) in enumerate(zip(rows, images, strict=True)):
        path = folder / row["label"] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
        path.with_suffix(".txt").write_text(row["text"], encoding="utf-8")


def _write_shards(
    folder: pathlib.Path, rows: list[dict[str, Any]], images: list[bytes]
) -> None:
    folder.mkdir()
    for shard in (0, 1):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in range(shard, ROWS, 2):
                row = rows[number]
                text, label = row["text"].encode(), row["label"].encode()
                files = {"png": images[number], "txt": text, "cls": label}
                for suffix, content in files.items():
                    member = tarfile.TarInfo(f"{number:05}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def _write_hugging_face(
    folder: pathlib.Path, rows: list[dict[str, Any]], images: list[bytes]
) -> None:
    import datasets

    datasets.disable_progress_bars()
    columns = {
        "image": [{"bytes": image, "path": None} for image in images],
        "text": [row["text"] for row in rows],
        "label": [row["label"] for row in rows],
    }
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(CLASSES)),
        }
    )
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder)


def _write_records(folder: pathlib.Path) -> None:
    from tf_multimodal.config import get_default_config
    from tf_multimodal.data.records.pipeline import Settings, write_records

    config = get_default_config()
    config.cache_dir = str(folder / "cache")
    config.data.manifest = str(folder / "pairs.csv")
    write_records(config, str(folder / "records"), Settings(rows_per_shard=40))
