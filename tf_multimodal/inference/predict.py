r"""Classifies the pairs of a manifest, or one pair, with a trained run.

    python -m tf_multimodal.inference.predict --run=DIR --manifest=pairs.csv \
        --output=predictions.csv
    python -m tf_multimodal.inference.predict --run=DIR --image=a.jpg --text="a cat"

The output is JSONL or CSV, by its name. A row whose image or text cannot be used is
named, counted and gets a status and the scores of what is left; `--strict` stops there.
TensorFlow is imported by the functions, so that `--help` answers at once.
"""

import collections
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags

from tf_multimodal.config import get_default_config

if TYPE_CHECKING:
    from tf_multimodal.data.source import Source
    from tf_multimodal.inference.predictor import Predictor

FLAGS = flags.FLAGS
_NAMED_ROWS = 20  # bad rows named on the terminal; the output has them all
_PROGRESS_ROWS = 5000


class BadRow(ValueError):
    """A row that cannot be used as it is, met under `--strict`."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """Columns of a manifest that are not those of the run's config; None: they are.

    Attributes:
        image, text, id: names of columns; a text column takes the place of the run's
            template or captions.
        image_encoding: `path`, `bytes` or `base64`.
    """

    image: str | None = None
    text: str | None = None
    id: str | None = None
    image_encoding: str | None = None


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run", None, "Directory of a training run.", required=True)
    flags.DEFINE_string(
        "manifest", None, "CSV, TSV, JSON lines or Parquet file of pairs."
    )
    flags.DEFINE_string("output", None, "File to write, ending in .jsonl or .csv.")
    flags.DEFINE_string("image", None, "Image file of one pair.")
    flags.DEFINE_string("text", None, "Text of one pair.")
    flags.DEFINE_bool("strict", False, "Stop at the first bad row, write nothing.")
    flags.DEFINE_integer("batch_size", 64, "Rows of a batch.", lower_bound=1)
    for role in ("image", "text", "id"):
        flags.DEFINE_string(
            f"{role}_column", None, f"Manifest column of the {role}; else the run's."
        )
    flags.DEFINE_enum(
        "image_encoding",
        None,
        ["path", "bytes", "base64"],
        "What the image column holds; else as in the run.",
    )


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    one_pair = FLAGS.image is not None or FLAGS.text is not None
    whole_file = FLAGS.manifest is not None or FLAGS.output is not None
    if one_pair == whole_file or (
        whole_file and None in (FLAGS.manifest, FLAGS.output)
    ):
        raise app.UsageError(
            "Give --manifest and --output for a file of pairs, or --image and/or "
            "--text for one pair."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        if one_pair:
            row = predict_pair(FLAGS.run, FLAGS.image, FLAGS.text, FLAGS.strict)
            print(json.dumps(row, ensure_ascii=False, indent=2))
        else:
            columns = Columns(
                FLAGS.image_column,
                FLAGS.text_column,
                FLAGS.id_column,
                FLAGS.image_encoding,
            )
            counts = predict_manifest(
                FLAGS.run,
                FLAGS.manifest,
                FLAGS.output,
                columns=columns,
                strict=FLAGS.strict,
                batch_size=FLAGS.batch_size,
            )
            summary = ", ".join(f"{n} {status}" for status, n in counts.items())
            print(f"Wrote {FLAGS.output}: {sum(counts.values())} rows ({summary}).")
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def predict_manifest(
    run_dir: str,
    manifest: str,
    output: str,
    *,
    columns: Columns | None = None,
    strict: bool = False,
    batch_size: int = 64,
) -> dict[str, int]:
    """Writes the predictions for every row of a manifest, in its order.

    Args:
        run_dir: the training run's directory.
        manifest: CSV, TSV, JSON lines or Parquet file.
        output: file to write, `.jsonl` or `.csv`.
        columns: names that differ from those of the run's config.
        strict: raise at the first bad row and write nothing.
        batch_size: rows of a batch.

    Returns:
        Number of rows by status, `ok` first.

    Raises:
        BadRow: a row is bad and `strict` is set.
        ValueError: the run, the manifest or the output's name cannot be used.
    """
    from tf_multimodal.data import spec
    from tf_multimodal.inference import prediction_file
    from tf_multimodal.inference.predictor import Predictor

    prediction_file.check_suffix(output)
    if Path(output).resolve() == Path(manifest).resolve():
        raise ValueError(f"The output {output} would overwrite the manifest.")
    predictor = Predictor.from_run(run_dir)
    source = _read_source(predictor, manifest, columns or Columns())
    counts: collections.Counter[str] = collections.Counter()
    with prediction_file.write_rows(output, predictor.classes) as writer:
        for batch in predictor.predict_batches(source, batch_size=batch_size):
            rows = prediction_file.make_rows(source, batch, predictor.classes)
            for row, index, reason in zip(
                rows, batch.index, batch.reasons, strict=True
            ):
                if row["status"] != spec.OK:
                    _report_bad_row(source, int(index), reason, counts, strict)
                writer.write(row)
                counts[row["status"]] += 1
            done = sum(counts.values())
            if done // _PROGRESS_ROWS > (done - len(batch)) // _PROGRESS_ROWS:
                print(f"{done} of {len(source)} rows", file=sys.stderr)
    return {s: counts[s] for s in spec.STATUSES if counts[s] or s == spec.OK}


def predict_pair(
    run_dir: str, image: str | None, text: str | None, strict: bool = False
) -> dict[str, Any]:
    """Returns the prediction for one image file and its text.

    Args:
        run_dir: the training run's directory.
        image: path of the image file; None: no image. One that cannot be used is
            masked, as in a manifest.
        text: the text; None: no text.
        strict: raise when the image cannot be used.

    Returns:
        A row as in the JSONL file, without `id` and `row`.

    Raises:
        BadRow: the image cannot be used and `strict` is set.
        ValueError: the run cannot be used.
    """
    import numpy as np

    from tf_multimodal.data import spec
    from tf_multimodal.inference import prediction_file
    from tf_multimodal.inference.predictor import Predictor, make_source

    predictor = Predictor.from_run(run_dir)
    source = make_source([None], [text], predictor.classes)
    paths = np.array([image or ""], object)
    source = dataclasses.replace(source, images=paths, files=paths)
    predictions = predictor.predict_source(source, batch_size=1)
    status, reason = predictions.status[0], predictions.reasons[0]
    if status != spec.OK:
        message = f"{image or 'The pair'}: {reason}"
        if strict:
            raise BadRow(message)
        print(message, file=sys.stderr)
    (row,) = prediction_file.make_rows(source, predictions, predictor.classes)
    del row["id"], row["row"]
    return row


def _read_source(predictor: "Predictor", manifest: str, columns: Columns) -> "Source":
    """Reads a manifest as the run read its own; labels, split and weight play no part.

    Columns that nobody named and the model does not read may be missing.
    """
    from tf_multimodal.data.ingest import KeyNames
    from tf_multimodal.data.manifest import read_manifest

    data = _find_manifest_settings(predictor.config.data)
    named = {k: v for k, v in dataclasses.asdict(columns).items() if v is not None}
    encoding = named.pop("image_encoding", data.image_encoding)
    read = predictor.preprocessor.modalities.split("_")
    is_own_text = "text" in read and "text" not in named
    return read_manifest(
        manifest,
        data.columns.to_dict() | named,
        classes=predictor.classes,
        require_labels=False,
        optional={"image", "text", "id"} - {*read, *named},
        names=KeyNames("--manifest", "--{role}_column"),
        image_encoding=encoding,
        text_template=data.text_template if is_own_text else "",
        captions=data.columns.captions if is_own_text else (),
    )


def _find_manifest_settings(data: Any) -> Any:
    """Returns `config.data`, or of a mixture the only part that is a manifest."""
    parts = [part for part in data.mixture.values() if part.manifest]
    if data.mixture and len(parts) != 1:
        return get_default_config().data
    return parts[0] if parts else data


def _report_bad_row(
    source: "Source",
    index: int,
    reason: str,
    counts: collections.Counter[str],
    strict: bool,
) -> None:
    """Names a bad row on stderr, or raises under `strict`."""
    message = f"{source.describe_row(index)}: {reason}"
    if strict:
        raise BadRow(f"{message} Nothing was written (--strict).")
    bad = sum(n for status, n in counts.items() if status != "ok")
    if bad < _NAMED_ROWS:
        print(f"Bad row: {message}", file=sys.stderr)
    elif bad == _NAMED_ROWS:
        print("More bad rows: see the column status of the output.", file=sys.stderr)


if __name__ == "__main__":
    define_flags()
    app.run(main)
