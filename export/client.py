r"""Classifies the pairs of a manifest, or one pair, by asking a server.

    python -m export.client --server=grpc://localhost:8500 --name=openclipart \
        --manifest=pairs.csv --output=predictions.jsonl
    python -m export.client --server=http://localhost:8501 --name=openclipart \
        --image=a.jpg --text="a cat"

From Python: `from export.client import GrpcClient, RestClient, connect, predict_many`.
What is imported from here is loaded with its first use, so that `--help` answers at
once.
"""

import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

FLAGS = flags.FLAGS
_ROOM = "tf_multimodal.serving.client"
_API = {
    "ClientOptions": "predict_client",
    "GrpcClient": "grpc_client",
    "Pair": "predict_client",
    "PredictClient": "predict_client",
    "Prediction": "predict_client",
    "RequestError": "predict_client",
    "RestClient": "rest_client",
    "connect": "connection",
    "predict_batch": "batches",
    "predict_many": "batches",
}


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{_ROOM}.{_API[name]}"), name)


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "server",
        None,
        "grpc://HOST:PORT or http://HOST:PORT; with TLS grpcs:// or https://.",
        required=True,
    )
    flags.DEFINE_string("name", None, "The model's name.", required=True)
    flags.DEFINE_integer("version", None, "Version of the model; else the newest.")
    flags.DEFINE_string("version_label", None, "Label in place of a version.")
    flags.DEFINE_enum(
        "signature",
        "serving_default",
        ["serving_default", "image_only", "text_only"],
        "Which signature to ask.",
    )
    flags.DEFINE_string(
        "manifest", None, "CSV, TSV, JSON lines or Parquet file of pairs."
    )
    flags.DEFINE_string("output", None, "File to write, ending in .jsonl or .csv.")
    flags.DEFINE_string("image", None, "Image file of one pair.")
    flags.DEFINE_string("text", None, "Text of one pair.")
    flags.DEFINE_string(
        "labels",
        None,
        "The model's labels.txt: gives every class its probability, not just the "
        "best; needed for a .csv.",
    )
    flags.DEFINE_bool(
        "multi_label",
        False,
        "The model gives a row several classes, or none (activation sigmoid in its "
        "model card): write those from probability 0.5 on.",
    )
    for role in ("image", "text", "id"):
        flags.DEFINE_string(f"{role}_column", None, f"Manifest column of the {role}.")
    flags.DEFINE_enum(
        "image_encoding",
        "path",
        ["path", "bytes", "base64"],
        "What the image column holds.",
    )
    flags.DEFINE_integer("batch_size", 32, "Rows of a request.", lower_bound=1)
    flags.DEFINE_integer("in_flight", 4, "Requests at a time.", lower_bound=1)
    flags.DEFINE_float(
        "deadline_s", 30.0, "Seconds that one attempt may take.", lower_bound=0.001
    )
    flags.DEFINE_integer("retries", 5, "Attempts after the first.", lower_bound=0)
    flags.DEFINE_multi_string(
        "header", [], "KEY: VALUE sent with every request (gRPC: metadata)."
    )
    flags.DEFINE_string("ca_file", None, "PEM file of the authorities to trust.")


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit status, 1 if a row's request failed.

    An interrupt ends the process at once, with 130.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    one_pair = FLAGS.image is not None or FLAGS.text is not None
    files = (FLAGS.manifest is not None, FLAGS.output is not None)
    if one_pair == any(files) or any(files) != all(files):
        raise app.UsageError(
            "Give --manifest and --output for a file of pairs, or --image and/or "
            "--text for one pair."
        )
    if FLAGS.version is not None and FLAGS.version_label is not None:
        raise app.UsageError("Give --version or --version_label, not both.")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return _connect_and_run(one_pair)
    except KeyboardInterrupt:
        message = "python -m export.client: interrupted; no output was written."
        print(message, file=sys.stderr, flush=True)
        # A normal exit would wait for the requests that are on their way.
        os._exit(130)


def _connect_and_run(one_pair: bool) -> int:
    from tf_multimodal.serving.client.connection import connect
    from tf_multimodal.serving.client.predict_client import ClientOptions, RequestError

    client = None
    try:
        options = ClientOptions(
            version=FLAGS.version,
            version_label=FLAGS.version_label,
            deadline_s=FLAGS.deadline_s,
            retries=FLAGS.retries,
            headers=dict(map(_parse_header, FLAGS.header)),
            ca_file=FLAGS.ca_file,
            connections=FLAGS.in_flight,
        )
        client = connect(FLAGS.server, FLAGS.name, options)
        return _run(client, one_pair)
    except (RequestError, ValueError, OSError) as error:
        print(f"python -m export.client: {error}", file=sys.stderr)
        return 1
    finally:
        if client is not None:
            client.close()


def _run(client: Any, one_pair: bool) -> int:
    from tf_multimodal.serving.client import manifest, outcome

    model = outcome.find_model(client, FLAGS.signature, FLAGS.labels, FLAGS.multi_label)
    if one_pair:
        row = manifest.predict_pair(model, FLAGS.image, FLAGS.text)
        print(json.dumps(row, ensure_ascii=False, indent=2))
        return 0
    named = {role: FLAGS[f"{role}_column"].value for role in ("image", "text", "id")}
    counts = manifest.predict_manifest(
        model,
        FLAGS.manifest,
        FLAGS.output,
        columns={role: name for role, name in named.items() if name is not None},
        image_encoding=FLAGS.image_encoding,
        batch_size=FLAGS.batch_size,
        in_flight=FLAGS.in_flight,
    )
    summary = ", ".join(f"{n} {status}" for status, n in counts.items())
    print(f"Wrote {FLAGS.output}: {sum(counts.values())} rows ({summary}).")
    return 1 if counts.get(outcome.REQUEST_FAILED) else 0


def _parse_header(header: str) -> tuple[str, str]:
    """Returns key and value of a header that both gRPC and REST can send."""
    key, colon, value = (part.strip() for part in header.partition(":"))
    # The value stays out of the messages: it may be a secret.
    if not colon:
        raise ValueError("--header: expected KEY: VALUE, with a colon.")
    if not re.fullmatch(r"[0-9A-Za-z_.-]+", key):
        raise ValueError(
            f"--header: the key {key!r} cannot be sent. Expected letters, digits and "
            "any of _ . -"
        )
    if key.lower().endswith("-bin"):
        raise ValueError(
            f"--header: the key {key!r} promises a binary value by its -bin (gRPC). "
            "Expected a key of a text."
        )
    if not (value.isascii() and value.isprintable()):
        raise ValueError(
            f"--header: the value of {key!r} cannot be sent. Expected printable ASCII."
        )
    return key, value


if __name__ == "__main__":
    define_flags()
    app.run(main)
