"""Answers requests from a SavedModel, as a server would, without the project.

    python -I fresh_process.py MODEL_FOLDER WORK_FOLDER

A program of its own, in which importing Keras, KerasHub or the project is an error
from the first line on. Of TensorFlow Text it loads the libraries of operations, which
are what TensorFlow Serving links, and none of the Python code. The model is loaded
by TensorFlow's C++ session loader, as TensorFlow Serving does, so a Python object
that the graph forgot cannot help out; and once more by the code of the command
`saved_model_cli`. The warm-up requests beside it are sent, too. WORK_FOLDER holds
requests.jsonl, a row of TensorFlow Serving's REST interface a line, with `real`: the
row may be timed. Written there:

    answers.npz     SIGNATURE/OUTPUT, [rows, ...]; `saved_model_cli/OUTPUT` for the
                    rows `saved_model_cli/rows`
    latency.json    part -> batch size -> p50 and p95 in milliseconds
    error.txt       instead of the two: in a line, why the model is of no use
"""

import base64
import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

BLOCKED_MODULES = ("keras", "tf_keras", "keras_hub", "tf_multimodal")
TEXT_OPS = "python/ops/*.so"
NEEDED_SIGNATURES = ("serving_default", "preprocess", "tensors")
WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"  # TensorFlow Serving's name
BATCH_ROWS = 32
CLI_ROWS = 4
TIMED_BATCH_SIZES = (1, 8, 32)
WARMUP_CALLS = 3
TIMED_CALLS = 30
TIMED_BATCHES = 6  # used in turn: images differ in size; each may be 20 MB of tensors
TIMED_SECONDS = 3.0  # of a part at one batch size

Arrays = dict[str, Any]
Signature = Callable[[Arrays], Arrays]


def main(model_dir: str, work_dir: str) -> None:
    """Asks the model; ends with a line where it is damaged or does not answer."""
    # From here on an import of these is an error.
    sys.modules.update(dict.fromkeys(BLOCKED_MODULES))  # type: ignore[arg-type]
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    load_text_ops()
    damages = (OSError, RuntimeError, ValueError, DecodeError, tf.errors.OpError)
    try:
        answer_requests(model_dir, pathlib.Path(work_dir))
    except damages as error:
        # TensorFlow's messages go on for pages, with where the graph was made.
        line = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        (pathlib.Path(work_dir) / "error.txt").write_text(line, encoding="utf-8")
        sys.exit(line)


def load_text_ops() -> None:
    """Loads TensorFlow Text's operations, without its Python code, which needs Keras.

    Raises:
        FileNotFoundError: the package has no libraries where it had them so far.
    """
    import tensorflow as tf

    spec = importlib.util.find_spec("tensorflow_text")
    folders = spec.submodule_search_locations if spec else None
    paths = [p for name in folders or () for p in pathlib.Path(name).glob(TEXT_OPS)]
    if not paths:
        raise FileNotFoundError(f"There is no {TEXT_OPS} in tensorflow_text.")
    for path in sorted(paths):
        tf.load_op_library(str(path))


def answer_requests(model_dir: str, work: pathlib.Path) -> None:
    """Reads the requests, asks the model in both ways and writes the answers."""
    import numpy as np
    import tensorflow as tf

    rows = read_requests(work / "requests.jsonl")
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], model_dir)
        signatures = {
            name: make_signature(session, definition)
            for name, definition in model.signature_def.items()
            if not name.startswith("__")  # TensorFlow's own
        }
        if missing := [name for name in NEEDED_SIGNATURES if name not in signatures]:
            raise ValueError(f"There is no signature {missing[0]} in {model_dir}.")
        replay_warmup(signatures, pathlib.Path(model_dir) / WARMUP_FILE)
        answers = answer_rows(signatures, rows)
        latency = measure_latency(signatures, [row for row in rows if row["real"]])
    chosen = np.unique(np.linspace(0, len(rows) - 1, CLI_ROWS).astype(int))
    output = ask_saved_model_cli(model_dir, work / "cli", [rows[i] for i in chosen])
    check_listing(output, signatures)
    answers["saved_model_cli/rows"] = chosen
    for path in (work / "cli").glob("*.npy"):
        with contextlib.suppress(ValueError):  # strings are pickled, numbers are not
            answers[f"saved_model_cli/{path.stem}"] = np.load(path, allow_pickle=False)
    np.savez(work / "answers.npz", **answers)
    (work / "latency.json").write_text(json.dumps(latency), encoding="utf-8")


def read_requests(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of a file of requests, their strings as bytes."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        for key in ("image_bytes", "text"):
            row[key] = base64.b64decode(row[key]["b64"])
    return rows


def make_signature(session: Any, definition: Any) -> Signature:
    """Returns a signature as a function from its inputs to its outputs, by key."""
    keys = list(definition.inputs)
    outputs = {key: info.name for key, info in definition.outputs.items()}
    inputs = [definition.inputs[key].name for key in keys]
    run = session.make_callable(outputs, inputs)
    return lambda values: run(*(values[key] for key in keys))


def make_feed(rows: Sequence[dict[str, Any]]) -> Arrays:
    """Returns rows as the inputs of the signatures that read bytes."""
    return {key: [row[key] for row in rows] for key in ("image_bytes", "text")}


def replay_warmup(signatures: dict[str, Signature], path: pathlib.Path) -> None:
    """Sends the requests beside the model, as a server does before it is ready.

    Raises:
        ValueError: there are none, or the model does not answer one.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    number = 0
    try:
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            number += 1
            request = PredictionLog.FromString(record).predict_log.request
            ask = signatures[request.model_spec.signature_name]
            ask({key: tf.make_ndarray(value) for key, value in request.inputs.items()})
    except (DecodeError, LookupError, TypeError, tf.errors.OpError) as error:
        raise ValueError(f"{path}, request {number}: {error}") from error
    if not number:
        raise ValueError(f"{path} holds no requests.")


def answer_rows(
    signatures: dict[str, Signature], rows: Sequence[dict[str, Any]]
) -> Arrays:
    """Returns the outputs of all signatures for all rows, SIGNATURE/OUTPUT.

    `tensors` is asked with what `preprocess` returned.
    """
    import numpy as np

    parts: dict[str, list[Any]] = {}
    for start in range(0, len(rows), BATCH_ROWS):
        feed = make_feed(rows[start : start + BATCH_ROWS])
        for name, ask in signatures.items():
            if name == "preprocess":
                continue  # part of `tensors`
            is_prepared = name == "tensors"
            inputs = signatures["preprocess"](feed) if is_prepared else feed
            for key, value in ask(inputs).items():
                parts.setdefault(f"{name}/{key}", []).append(decode_strings(value))
    return {key: np.concatenate(values) for key, values in parts.items()}


def decode_strings(values: Any) -> Any:
    """Returns an array of bytes objects as one of text, and others as they are."""
    import numpy as np

    if values.dtype != object:
        return values
    texts = [value.decode() for value in values.ravel()]
    return np.array(texts, dtype=str).reshape(values.shape)


def measure_latency(
    signatures: dict[str, Signature], rows: Sequence[dict[str, Any]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Returns p50 and p95 in milliseconds by part and batch size.

    `whole` is the signature serving_default. `decode` and `text` are what comes in
    front of the model, each with the other modality missing; `model` is the rest.
    """
    import numpy as np

    full = [row for row in rows if row["image_bytes"] and row["text"]] or rows
    if not full:
        return {}
    preprocess = signatures["preprocess"]
    table: dict[str, dict[str, dict[str, float]]] = {}
    for size in TIMED_BATCH_SIZES:
        feeds = [
            make_feed([full[(start * size + i) % len(full)] for i in range(size)])
            for start in range(TIMED_BATCHES)
        ]
        empty = [b""] * size
        prepared = [preprocess(feed) for feed in feeds]
        parts = {"whole": (signatures["serving_default"], feeds)}
        if "images" in prepared[0]:
            images = [{**feed, "text": empty} for feed in feeds]
            parts["decode"] = (preprocess, images)
        if "token_ids" in prepared[0]:
            texts = [{**feed, "image_bytes": empty} for feed in feeds]
            parts["text"] = (preprocess, texts)
        parts["model"] = (signatures["tensors"], prepared)
        for part, times in time_parts(parts).items():
            p50, p95 = (round(float(x), 3) for x in np.percentile(times, (50, 95)))
            table.setdefault(part, {})[str(size)] = {"p50": p50, "p95": p95}
    return table


def time_parts(
    parts: dict[str, tuple[Signature, list[Arrays]]],
) -> dict[str, list[float]]:
    """Returns the milliseconds of each part's calls.

    The parts take turns, so that what else the machine does falls on all of them.
    """
    for ask, inputs in parts.values():
        for values in inputs[:WARMUP_CALLS]:
            ask(values)
    times: dict[str, list[float]] = {part: [] for part in parts}
    end = time.perf_counter() + TIMED_SECONDS * len(parts)
    for call in range(TIMED_CALLS):
        for part, (ask, inputs) in parts.items():
            start = time.perf_counter()
            ask(inputs[call % len(inputs)])
            times[part].append((time.perf_counter() - start) * 1e3)
        if time.perf_counter() > end:
            break
    return times


def ask_saved_model_cli(
    model_dir: str, folder: pathlib.Path, rows: Sequence[dict[str, Any]]
) -> str:
    """Runs `saved_model_cli show --all` and `run` with TF Text's operations.

    The plain command lacks those: it imports no TF Text.

    Returns:
        What it printed. The outputs are written to `folder`, OUTPUT.npy.
    """
    from tensorflow.python.tools import saved_model_cli

    # Semicolons part the expressions.
    literals = (
        f"{key}={values!r}".replace(";", r"\x3b")
        for key, values in make_feed(rows).items()
    )
    show = ["show", f"--dir={model_dir}", "--all"]
    run = ["run", f"--dir={model_dir}", "--tag_set=serve"]
    run += ["--signature_def=serving_default", f"--outdir={folder}"]
    run += [f"--input_exprs={';'.join(literals)}"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for command in (show, run):
            saved_model_cli.create_parser().parse_args(command).func()
    return printed.getvalue()


def check_listing(output: str, names: dict[str, Signature]) -> None:
    """Raises `ValueError` if `saved_model_cli show --all` left a signature out."""
    missing = [name for name in names if f"signature_def['{name}']:" not in output]
    if missing:
        raise ValueError(f"saved_model_cli does not list {', '.join(missing)}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
