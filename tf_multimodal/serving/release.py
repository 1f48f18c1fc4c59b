"""From a run directory to a model that other programs load, checked."""

import dataclasses
import json
import pathlib
import shlex
import textwrap
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_multimodal.data.source import Source
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.serving import onnx_model, tflite_model
from tf_multimodal.serving.agreement import MIN_AGREEMENT, VerificationError
from tf_multimodal.serving.comparison import compare_format
from tf_multimodal.serving.folding import divide_logits, fold_batch_norm
from tf_multimodal.serving.model_card import write_model_card
from tf_multimodal.serving.pairs import choose_pairs, choose_split
from tf_multimodal.serving.request_example import make_curl
from tf_multimodal.serving.saved_model import PRECISIONS, write_names, write_saved_model
from tf_multimodal.serving.server_ops import OLDEST_SERVER
from tf_multimodal.serving.verification import (
    describe_verification,
    verify_saved_model,
    write_record,
)
from tf_multimodal.serving.versions import make_name, write_next_version

Tensors = dict[str, np.ndarray]

FORMATS = ("saved_model", "keras_preset", "onnx", "tflite")
COMPARISON_FILE = "comparison.json"
MAX_DIFFERENCE = 1e-4  # of a probability, of other formats in float32


@dataclasses.dataclass(frozen=True)
class Release:
    """A version of a model in some format, and what it was checked with.

    Attributes:
        folder: the version's folder.
        summary: what was written and compared, for a person.
    """

    folder: pathlib.Path
    summary: str


@dataclasses.dataclass(frozen=True)
class _Job:
    """What every format is made from."""

    predictor: Predictor  # float32
    source: Source
    split: str
    precision: str
    intended_use: str | None


def release_run(
    run_dir: str | pathlib.Path,
    output_dir: str | pathlib.Path | None = None,
    *,
    model_format: str = "saved_model",
    precision: str = "float32",
    intended_use: str | None = None,
    source: Source | None = None,
) -> Release:
    """Exports a run's best model as the next version of a folder.

    Args:
        run_dir: a finished run.
        output_dir: holds the versions `1/`, `2/`, ...; None: `export/` in the run,
            and `export_FORMAT/` for other formats than the SavedModel.
        model_format: one of `FORMATS`.
        precision: `float32` or `bfloat16`; the latter for a SavedModel or preset.
        intended_use: a sentence for the model card.
        source: the rows, where they were given to the run from Python.

    Raises:
        ValueError: a format or precision that does not exist, or not together.
        VerificationError: the written model does not answer as the run does. No
            version is left behind.
        ConversionError: the graph cannot be had in that format.
    """
    _check_choice("format", model_format, FORMATS)
    _check_choice("precision", precision, PRECISIONS)
    if precision != "float32" and model_format in ("onnx", "tflite"):
        raise ValueError(
            f"--format={model_format} is written in float32 only. Received: "
            f"--precision={precision}"
        )
    if output_dir is None:
        name = "export" if model_format == "saved_model" else f"export_{model_format}"
        output_dir = pathlib.Path(run_dir) / name
    output_dir = pathlib.Path(output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise ValueError(f"{output_dir} is a file. Expected a folder for the versions.")
    predictor = Predictor.from_run(run_dir, dtype="float32")
    source = load_run_source(read_run(run_dir), source)
    job = _Job(predictor, source, choose_split(source), precision, intended_use)
    summaries = []

    def write(folder: pathlib.Path) -> None:
        summaries.append(_WRITERS[model_format](job, folder))

    folder = write_next_version(output_dir, write)
    lines = [f"Exported {folder}", summaries[0]]
    if model_format == "saved_model":
        lines += ["", describe_serving(folder)]
    return Release(folder, "\n".join(lines))


def describe_serving(folder: pathlib.Path) -> str:
    """Returns the lines that serve a version with TensorFlow Serving, and ask it."""
    model_dir = folder.resolve().parent
    name = make_name(model_dir)
    mount = shlex.quote(f"{model_dir}:/models/{name}:ro")
    return f"""\
Serve it with TensorFlow Serving, {OLDEST_SERVER} or newer:
  docker run --rm -p 127.0.0.1:8501:8501 -v {mount} \\
    -e MODEL_NAME={name} tensorflow/serving
Ask it:
{textwrap.indent(make_curl(name, 8501), "  ")}
What an operator needs around it: python -m export.bundle"""


def _write_saved_model(job: _Job, folder: pathlib.Path) -> str:
    num_folded = write_saved_model(job.predictor, folder, job.precision)
    write_model_card(
        folder,
        job.predictor,
        precision=job.precision,
        intended_use=job.intended_use,
    )
    pairs = choose_pairs(job.source)
    verification = verify_saved_model(folder, job.predictor, pairs, job.precision)
    write_record(folder, verification)
    found = describe_verification(verification)
    return f"BatchNorm layers folded into convolutions: {num_folded}\n{found}"


def _write_preset(job: _Job, folder: pathlib.Path) -> str:
    # Loaded again: its heads are changed, and the run's must stay as they are.
    model = Predictor.from_run(job.predictor.run_dir, dtype=job.precision).model
    divide_logits(model, job.predictor.temperature)
    model.save_to_preset(str(folder))
    loaded = ImageTextClassifier.from_preset(str(folder), dtype=job.precision)
    loaded.compile(jit_compile=False)

    def run(x: Tensors) -> np.ndarray:
        # Not `loaded.predict_on_batch`, which would apply the preprocessor again.
        logits = keras.Model.predict_on_batch(loaded, x)
        return compute_probabilities(logits, loaded.activation)

    return _compare(job, folder, run)


def _write_converted(
    job: _Job,
    folder: pathlib.Path,
    name: str,
    write: Callable[[ImageTextClassifier, Any, pathlib.Path], None],
    load: Callable[[pathlib.Path], Callable[[Tensors], np.ndarray]],
) -> str:
    folder.mkdir()
    model, _ = fold_batch_norm(
        job.predictor.model, temperature=job.predictor.temperature
    )
    write(model, job.predictor.preprocessor, folder / name)
    return _compare(job, folder, load(folder / name))


def _write_onnx(job: _Job, folder: pathlib.Path) -> str:
    write, load = onnx_model.write_onnx, onnx_model.load_onnx
    return _write_converted(job, folder, "model.onnx", write, load)


def _write_tflite(job: _Job, folder: pathlib.Path) -> str:
    write, load = tflite_model.write_tflite, tflite_model.load_tflite
    return _write_converted(job, folder, "model.tflite", write, load)


def _compare(
    job: _Job, folder: pathlib.Path, run: Callable[[Tensors], np.ndarray]
) -> str:
    """Holds a written model against the run, and writes what was found beside it."""
    write_names(folder, job.predictor)
    indices = job.source.get_indices(job.split)
    found = compare_format(job.predictor, job.source, indices, run)
    record = {**dataclasses.asdict(found), "split": job.split}
    record["precision"] = job.precision
    text = json.dumps(record, indent=2) + "\n"
    (folder / COMPARISON_FILE).write_text(text, encoding="utf-8")
    bound = MAX_DIFFERENCE if job.precision == "float32" else np.inf
    is_close = found.max_difference <= bound
    if not (is_close and found.label_agreement >= MIN_AGREEMENT):
        raise VerificationError(
            f"On {found.rows} rows of the {job.split} split the exported model's "
            f"labels agree with the run's on {found.label_agreement:.1%}, and a "
            f"probability differs by {found.max_difference:.1e}; expected at least "
            f"{MIN_AGREEMENT:.0%}, and at most {bound:.0e}."
        )
    lines = found.describe().splitlines()
    title = f"Compared with the run in float32 on its {job.split} split:"
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"--{name} must be one of {', '.join(choices)}. Received: {value!r}"
        )


_WRITERS: dict[str, Callable[[_Job, pathlib.Path], str]] = {
    "saved_model": _write_saved_model,
    "keras_preset": _write_preset,
    "onnx": _write_onnx,
    "tflite": _write_tflite,
}
