"""Holds the files beside a SavedModel against the model and its run."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_multimodal.data.labels import read_labels
from tf_multimodal.serving.agreement import VerificationError
from tf_multimodal.serving.model_card import CARD_FILE, read_model_card
from tf_multimodal.serving.model_file import read_signatures
from tf_multimodal.serving.server_ops import OPS_FILE, find_server_ops
from tf_multimodal.serving.versions import EXTRA_DIR

LABELS_FILE = "labels.txt"


def check_extra_files(
    folder: pathlib.Path, classes: Sequence[str], precision: str
) -> None:
    """Checks the model card, the labels and the operations of a SavedModel.

    The fourth, the warm-up requests, are sent by `fresh_process`.

    Args:
        folder: the SavedModel.
        classes: of the run, in the order of the probabilities.
        precision: of the stored weights.

    Raises:
        ValueError: a file is missing or cannot be read, or TensorFlow Serving lacks
            an operation of the graph.
        VerificationError: a file says what is not so.
    """
    card, card_path = read_model_card(folder), folder / EXTRA_DIR / CARD_FILE
    _expect(card_path, "classes", card.get("classes"), list(classes))
    _expect(card_path, "precision", card.get("precision"), precision)
    named = sorted(card.get("signatures") or ())
    _expect(card_path, "signatures", named, sorted(read_signatures(folder)))
    path = folder / EXTRA_DIR / LABELS_FILE
    try:
        labels = list(read_labels(path))
    except (OSError, ValueError) as error:
        raise _make_unreadable(path, error) from error
    _expect(path, "classes", labels, list(classes))
    path = folder / EXTRA_DIR / OPS_FILE
    try:
        ops = json.loads(path.read_text(encoding="utf-8"))["ops"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _make_unreadable(path, error) from error
    _expect(path, "operations", ops, list(find_server_ops(folder).ops))


def read_precision(folder: pathlib.Path) -> str:
    """Returns `float32` or `bfloat16`: the type of the weights in a SavedModel.

    Raises:
        ValueError: the list of its variables cannot be read.
    """
    path = folder / "variables" / "variables"
    try:
        reader = tf.train.load_checkpoint(str(path))
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise _make_unreadable(path.with_suffix(".index"), error) from error
    # In bfloat16 the heads stay float32.
    is_bfloat16 = tf.bfloat16 in reader.get_variable_to_dtype_map().values()
    return "bfloat16" if is_bfloat16 else "float32"


def _expect(path: pathlib.Path, what: str, received: Any, expected: Any) -> None:
    if received != expected:
        raise VerificationError(
            f"{path} has the {what} {received}; the model and its run have {expected}. "
            "Export the run again."
        )


def _make_unreadable(path: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read: {error}. Expected what `python -m export` writes; "
        "export the run again."
    )
