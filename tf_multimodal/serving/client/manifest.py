"""Predictions of a server for the rows of a manifest, or for one pair."""

import collections
import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

from tf_multimodal import config as config_lib
from tf_multimodal.data import spec
from tf_multimodal.data.ingest import KeyNames
from tf_multimodal.data.manifest import read_manifest
from tf_multimodal.data.source import Source
from tf_multimodal.inference import prediction_file
from tf_multimodal.serving.client.batches import BATCH_SIZE, IN_FLIGHT, map_in_flight
from tf_multimodal.serving.client.circuit_breaker import CircuitBreaker, NotAsked
from tf_multimodal.serving.client.outcome import (
    REQUEST_FAILED,
    Model,
    Outcome,
    ask_rows,
    describe_outcome,
)
from tf_multimodal.serving.client.predict_client import RequestError, encode_text

NAMED_ROWS = 20  # rows with a bad input that are named; failed ones all are


def predict_manifest(
    model: Model,
    manifest: str,
    output: str,
    *,
    columns: Mapping[str, str] | None = None,
    image_encoding: str = "path",
    batch_size: int = BATCH_SIZE,
    in_flight: int = IN_FLIGHT,
) -> dict[str, int]:
    """Writes the server's predictions for every row of a manifest, in its order.

    A row whose request fails for good is named on standard error and written
    without a prediction, with the status `request_failed`; the rest goes on. A server
    that is gone is not asked to the end: a line says so for all rows that remain.

    Args:
        model: what is asked.
        manifest: CSV, TSV, JSON lines or Parquet file. Images are read as they are
            sent.
        output: file to write, `.jsonl` or `.csv`; it appears when all is done.
        columns: columns of `image`, `text` and `id` that have other names than in
            the project's configuration.
        image_encoding: what the image column holds: `path`, `bytes` or `base64`.
        batch_size: rows of a request.
        in_flight: requests at a time.

    Returns:
        Number of rows by status, `ok` first.

    Raises:
        ValueError: the manifest or the output's name cannot be used, or the classes
            are not the model's.
    """
    _check_output(model, manifest, output)
    source = _read_source(manifest, model.reads, columns or {}, image_encoding)
    model = dataclasses.replace(model, client=CircuitBreaker(model.client))
    starts = range(0, len(source), batch_size)
    batches = [range(i, min(i + batch_size, len(source))) for i in starts]

    def ask(rows: range) -> list[Outcome]:
        return ask_rows(model, source.images[rows], source.texts[rows])

    counts: collections.Counter[str] = collections.Counter()
    not_asked: NotAsked | None = None
    with (
        prediction_file.write_rows(output, model.classes or ()) as writer,
        # None: no bar where standard error is no terminal.
        tqdm(total=len(source), unit="row", disable=None) as bar,
    ):
        answers = map_in_flight(ask, batches, in_flight)
        for rows, outcomes in zip(batches, answers, strict=True):
            for row, outcome in zip(rows, outcomes, strict=True):
                writer.write(_make_row(model, source, row, outcome))
                counts[outcome.status] += 1
                if not isinstance(outcome.result, NotAsked):
                    _report(source, row, outcome, counts)
                elif not_asked is None:
                    not_asked = outcome.result
                    tqdm.write(f"The server is gone: {not_asked}", file=sys.stderr)
            bar.update(len(rows))
    order = (*spec.STATUSES, REQUEST_FAILED)
    return {s: counts[s] for s in order if counts[s] or s == spec.OK}


def predict_pair(model: Model, image: str | None, text: str | None) -> dict[str, Any]:
    """Returns the server's prediction for one image file and its text.

    Args:
        model: what is asked.
        image: path of the image file; None: no image.
        text: the text; None: no text.

    Returns:
        A row as in the JSONL file, without `id` and `row`.

    Raises:
        RequestError: the server gave no prediction.
        ValueError: the classes are not the model's.
    """
    (outcome,) = ask_rows(model, [image or ""], [text or ""])
    if isinstance(outcome.result, RequestError):
        raise outcome.result
    if outcome.status != spec.OK:
        print(f"{image or 'The pair'}: {outcome.reason}", file=sys.stderr)
    shown = encode_text(text or "").decode("utf-8", "replace")
    row = {"file": image or "", "text": shown}
    return row | describe_outcome(model, outcome)


def _check_output(model: Model, manifest: str, output: str) -> None:
    prediction_file.check_suffix(output)
    if pathlib.Path(output).resolve() == pathlib.Path(manifest).resolve():
        raise ValueError(f"The output {output} would overwrite the manifest.")
    if model.classes is None and output.lower().endswith(".csv"):
        raise ValueError(
            "A CSV file has a column for every class, and the server does not say "
            "which they are: give --labels=labels.txt (it lies in the model's "
            "assets.extra/), or an --output that ends in .jsonl."
        )


def _read_source(
    manifest: str,
    reads: frozenset[str],
    columns: Mapping[str, str],
    image_encoding: str,
) -> Source:
    """Reads a manifest as predict does; columns that play no part may be missing."""
    defaults = config_lib.get_default_config().data.columns.to_dict()
    return read_manifest(
        manifest,
        defaults | dict(columns),
        require_labels=False,
        optional={"image", "text", "id"} - {*reads, *columns},
        names=KeyNames("--manifest", "--{role}_column"),
        image_encoding=image_encoding,
    )


def _make_row(
    model: Model, source: Source, index: int, outcome: Outcome
) -> dict[str, Any]:
    """Returns a row with the columns that predict writes."""
    return {
        "id": str(source.ids[index]),
        "row": int(source.rows[index]),
        "file": str(source.files[index]),
        "text": str(source.texts[index]),
    } | describe_outcome(model, outcome)


def _report(
    source: Source, index: int, outcome: Outcome, counts: collections.Counter[str]
) -> None:
    """Names a row that did not come out well on standard error."""
    message = f"{source.describe_row(index)}: {outcome.reason}"
    if outcome.status == REQUEST_FAILED:
        tqdm.write(f"Failed row: {message}", file=sys.stderr)
    elif outcome.status != spec.OK:
        bad = counts.total() - counts[spec.OK] - counts[REQUEST_FAILED]
        if bad <= NAMED_ROWS:
            tqdm.write(f"Bad row: {message}", file=sys.stderr)
        elif bad == NAMED_ROWS + 1:
            more = "More bad rows: see the column status of the output."
            tqdm.write(more, file=sys.stderr)
