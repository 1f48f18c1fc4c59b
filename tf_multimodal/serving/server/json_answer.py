"""Answers in JSON, as TensorFlow Serving's REST API gives them.

Format: `g3doc/api_rest.md` of github.com/tensorflow/serving. NaN and Infinity are
written as bare words, which Python and JavaScript read and strict JSON does not.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_multimodal.serving.server.request_error import make_invalid

BYTES_SUFFIX = "_bytes"  # of outputs that are written in base64


def write_outputs(outputs: Mapping[str, np.ndarray], in_rows: bool) -> str:
    """Returns the body of an answer.

    Args:
        outputs: at least one array by name. A lone one stands without its name.
        in_rows: `predictions`, one entry a row; else `outputs`, one a tensor.
    """
    values = {name: _make_json(name, array) for name, array in outputs.items()}
    document: dict[str, Any]
    if not in_rows:
        document = {"outputs": _unwrap(values)}
    else:
        sizes = {array.shape[:1] for array in outputs.values()}
        if len(sizes) != 1 or () in sizes:
            raise make_invalid(
                "Outputs have no common batch size; ask in the column format: "
                + ", ".join(f"{name} {list(x.shape)}" for name, x in outputs.items())
            )
        rows = zip(*values.values(), strict=True)
        named = [dict(zip(values, row, strict=True)) for row in rows]
        document = {"predictions": [_unwrap(row) for row in named]}
    return json.dumps(document, ensure_ascii=False, indent=1)


def _unwrap(values: dict[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else values


def _make_json(name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        convert = _make_base64 if name.endswith(BYTES_SUFFIX) else _make_text
        return np.vectorize(convert, otypes=[object])(array).tolist()
    if np.issubdtype(array.dtype, np.floating):
        # The shortest digits that give the same float32, not those of its float64.
        return array.astype(str).astype(np.float64).tolist()
    return array.tolist()


def _make_base64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode("ascii")}


def _make_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
