"""A predict request in JSON, as TensorFlow Serving's REST API takes it.

Format: `g3doc/api_rest.md` of github.com/tensorflow/serving; errors: its
`util/json_tensor.cc`.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.serving.server.json_array import (
    is_base64,
    read_array,
    show_json,
)
from tf_multimodal.serving.server.request_error import RequestError, make_invalid

SIGNATURE_NAME = "signature_name"
ROWS = "instances"  # one object a row
COLUMNS = "inputs"  # one array a tensor


def parse_body(body: bytes) -> dict[str, Any]:
    """Reads a predict request's body.

    Raises:
        RequestError: it is not JSON, not an object, or holds a signature name that
            is no string.
    """
    if not body:
        raise make_invalid("JSON Parse error: The document is empty")
    try:
        # Bytes that are not UTF-8 pass, as they do there, and become those bytes.
        document = json.loads(body.decode("utf-8", "surrogateescape"))
    except json.JSONDecodeError as error:
        raise make_invalid(
            f"JSON Parse error: {error.msg} at offset: {error.pos}"
        ) from error
    except RecursionError as error:
        raise make_invalid("JSON Parse error: nested too deeply") from error
    if not isinstance(document, dict):
        raise make_invalid(f"JSON Value: {show_json(document)} Is not object")
    if not isinstance(document.get(SIGNATURE_NAME, ""), str):
        raise make_invalid(
            f"JSON Value: {show_json(document)} not formatted correctly. "
            f"'{SIGNATURE_NAME}' key must be a string value."
        )
    return document


def read_inputs(
    document: Mapping[str, Any], expected: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Returns the tensors of a request.

    Args:
        document: of `parse_body`.
        expected: the signature's inputs, a `TensorInfo` by name.

    Raises:
        RequestError: not exactly one of `instances` and `inputs`, or names, nesting
            or types that do not fit.
    """
    if ROWS in document and COLUMNS in document:
        raise make_invalid(
            f"JSON Value: {show_json(document)} Not formatted correctly expecting only "
            f"one of '{COLUMNS}' or '{ROWS}' keys to exist "
        )
    if ROWS not in document and COLUMNS not in document:
        raise make_invalid(f"Missing '{COLUMNS}' or '{ROWS}' key")
    dtypes = {name: tf.as_dtype(info.dtype) for name, info in expected.items()}
    if ROWS in document:
        arrays = _read_rows(document[ROWS], dtypes)
    else:
        arrays = _read_columns(document[COLUMNS], dtypes)
    return {name: tf.constant(x, dtypes[name], x.shape) for name, x in arrays.items()}


def _read_rows(rows: Any, dtypes: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise make_invalid(
            f"JSON Value: {show_json(rows)} Expecting '{ROWS}' to be an list/array"
        )
    if not rows:
        raise make_invalid(f"JSON Value: [] No values in '{ROWS}' array")
    named = _is_named(rows[0])
    if not named and len(dtypes) > 1:
        raise make_invalid(
            "instances is a plain list, but expecting list of objects as multiple "
            "input tensors required as per tensorinfo_map"
        )
    read = []
    for number, row in enumerate(rows):
        if _is_named(row) != named:
            raise make_invalid(
                f"Expecting {'object' if named else 'value/list'} but got "
                f"{'list' if named else 'object'} at item {number} of input list"
            )
        tensors = row if named else {next(iter(dtypes)): row}
        read.append(_read_row(number, tensors, dtypes))
    return _stack_rows(read)


def _stack_rows(read: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    arrays = {}
    for name in read[0]:
        shapes = [list(row[name].shape) for row in read]
        for number, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise make_invalid(
                    f"Failed to process element: {number} key: {name} of '{ROWS}' "
                    f"list. Error: INVALID_ARGUMENT: Expecting shape {shapes[0]} but "
                    f"got: {shape}"
                )
        arrays[name] = np.stack([row[name] for row in read])
    return arrays


def _read_row(
    number: int, row: Mapping[str, Any], dtypes: Mapping[str, tf.DType]
) -> dict[str, np.ndarray]:
    arrays = {}
    for name, value in row.items():
        try:
            if name not in dtypes:
                raise make_invalid(f"JSON object: does not have named input: {name}")
            arrays[name] = read_array(value, dtypes[name])
        except RequestError as error:
            raise make_invalid(
                f"Failed to process element: {number} key: {name} of '{ROWS}' list. "
                f"Error: {error.code.name}: {error.message}"
            ) from error
    if arrays.keys() != dtypes.keys():
        raise make_invalid(
            f"Failed to process element: {number} of '{ROWS}' list. JSON object: "
            f"{show_json(row)} keys must be equal to: {','.join(sorted(dtypes))}"
        )
    return arrays


def _read_columns(
    columns: Any, dtypes: Mapping[str, tf.DType]
) -> dict[str, np.ndarray]:
    if not _is_named(columns):
        if len(dtypes) > 1:
            raise make_invalid(
                "inputs is a plain value/list, but expecting an object as multiple "
                "input tensors required as per tensorinfo_map"
            )
        columns = {next(iter(dtypes)): columns}
    for name in dtypes:
        if name not in columns:
            raise make_invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: read_array(columns[name], dtypes[name]) for name in dtypes}


def _is_named(value: Any) -> bool:
    """Whether a value is an object of tensors by name, and not `{"b64": ...}`."""
    return isinstance(value, dict) and not is_base64(value)
