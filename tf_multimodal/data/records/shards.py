"""Rows of a source, written to one TFRecord file after the other."""

import collections
import concurrent.futures
import contextlib
import functools
import io
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_multimodal.config import from_json
from tf_multimodal.data import files, sources, spec
from tf_multimodal.data.atomic_file import write_url
from tf_multimodal.data.records import index
from tf_multimodal.data.records.example import make_example
from tf_multimodal.data.records.images import ScaledImage, scale_image
from tf_multimodal.data.source import Source

BLOCK_ROWS = 64  # rows whose images are held at once
_NO_IMAGE = ScaledImage(b"", 0, 0)


class Job(NamedTuple):
    """All that a worker needs; it opens the source itself."""

    config: str  # JSON
    folder: str
    fingerprint: str  # of the source that the plan was made for
    shards: int
    rows_per_shard: int
    max_px: int
    quality: int  # of JPEG
    max_bad_rows: int  # more of them end the run
    run: str  # tells one run of the command from another


class _ForbiddenRow(Exception):
    """A row cannot be used, and `config.data.bad_rows` is `raise`."""


class _Row(NamedTuple):
    features: dict[str, list[Any]] | None  # None: left out
    problem: dict[str, Any] | None  # a line of dropped.jsonl


def write_shard(job: Job, number: int) -> None:
    """Writes a shard and, behind it, its report.

    Nothing is written any more once it is certain that the run fails.
    A row that `config.data.bad_rows` forbids ends it; then there is no shard, and the
    report says why.

    Args:
        job: what is written, and where.
        number: of the shard, from 0.

    Raises:
        ValueError: the worker does not find the rows that the plan was made for.
    """
    if index.count_bad_rows(job.folder, _get_counts(job)) > job.max_bad_rows:
        return
    name = index.name_shard(number, job.shards)
    try:
        report = _write_rows(job, number, files.join(job.folder, name))
    except _ForbiddenRow as error:
        report = {"failed": str(error)}
    path = files.join(job.folder, index.name_report(name))
    index.write_json(path, {"file": name, **report})


def _write_rows(job: Job, number: int, path: str) -> dict[str, Any]:
    """Writes the shard itself; returns what its report says."""
    source = _open_source(job.config, job.fingerprint)
    start = number * job.rows_per_shard
    rows = np.arange(start, min(start + job.rows_per_shard, len(source)))
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    dropped = []
    written = 0
    with write_url(path) as temporary:
        with tf.io.TFRecordWriter(temporary) as writer:
            for features, problem in _make_rows(source, rows, job):
                if problem:
                    dropped.append(problem)
                if features:
                    writer.write(make_example(features))
                    labels = features.get("labels", features.get("label", []))
                    counts[features["split"][0]].update(labels)
                    written += 1
        size = files.get_status(temporary).size
        checksum = files.compute_sha256(temporary)
    return {
        "rows": written,
        "bytes": size,
        "sha256": checksum,
        "counts": counts,
        "dropped": dropped,
    }


@functools.lru_cache(maxsize=1)
def _get_counts(job: Job) -> dict[str, float]:
    """Returns the bad rows of the reports that this process has read."""
    return {}


@functools.lru_cache(maxsize=1)
def _open_source(config: str, fingerprint: str) -> Source:
    with contextlib.redirect_stdout(io.StringIO()):  # the launcher has shown it
        source = sources.load_source(from_json(config))
    if source.compute_fingerprint() != fingerprint:
        raise ValueError(
            f"{source.name} is not what it was when the records were begun. Every "
            "worker must see the same files under the same paths, and they must not "
            "change meanwhile."
        )
    return source


def _make_rows(source: Source, rows: np.ndarray, job: Job) -> Iterator[_Row]:
    data = from_json(job.config).data
    scale = functools.partial(
        scale_image,
        max_px=job.max_px,
        quality=job.quality,
        max_image_px=data.max_image_px,
    )
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            images = pool.map(
                lambda image: scale(image) if image else _NO_IMAGE,
                source.images[block],
            )
            for row, image in zip(block.tolist(), images, strict=True):
                yield _make_row(source, row, image, data.bad_rows)


def _make_row(source: Source, row: int, image: ScaledImage, policy: str) -> _Row:
    """Applies the policy to a row, and makes its features."""
    texts = [source.texts[row]]
    captions = list(source.captions[row]) if source.captions is not None else []
    status, reason = image.status, image.reason
    if status == spec.OK and any(isinstance(t, bytes) for t in texts + captions):
        status = spec.UNDECODABLE_TEXT
        reason = "The text is not UTF-8. Save the source as UTF-8."
    # What cannot be used is now missing: the row may live on what is left.
    (text,), captions = (
        ["" if isinstance(t, bytes) else t for t in group]
        for group in (texts, captions)
    )
    is_empty = not (image.data or text or any(captions))
    if status == spec.OK and is_empty:
        status, reason = spec.MISSING_INPUT, "The row has neither an image nor a text."
    if status == spec.OK:
        return _Row(_make_features(source, row, image, text, captions), None)
    if policy == "raise":
        raise _ForbiddenRow(f"{source.describe_row(row)}: {reason}")
    is_kept = policy == "mask" and not is_empty
    problem = {
        "file": str(source.files[row]),
        "row": int(source.rows[row]),
        "id": str(source.ids[row]),
        "status": status,
        "reason": reason,
        "kept": is_kept,
    }
    features = _make_features(source, row, image, text, captions) if is_kept else None
    return _Row(features, problem)


def _make_features(
    source: Source, row: int, image: ScaledImage, text: str, captions: list[str]
) -> dict[str, list[Any]]:
    """Returns the features of a row; `docs/data_preparation.md` lists them."""
    features: dict[str, list[Any]] = {
        "id": [str(source.ids[row])],
        "split": [str(source.splits[row])],
        "group": [str(source.groups[row])],
        "weight": [float(source.weights[row])],
        "file": [str(source.files[row])],
        "row": [int(source.rows[row])],
        "image": [image.data] if image.data else [],
        "width": [image.width],
        "height": [image.height],
        "text": [text],
    }
    if captions:
        features["captions"] = captions
    if source.label_sets is None:
        labels, key = source.labels[row : row + 1].tolist(), "label"
    else:
        start, stop = source.label_sets.offsets[row : row + 2]
        labels, key = source.label_sets.values[start:stop].tolist(), "labels"
    labels = [label for label in labels if label >= 0]
    features[key] = [source.classes[label] for label in labels]
    features[f"{key}_index"] = labels
    return features
