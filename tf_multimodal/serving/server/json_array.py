"""Values in JSON as arrays: numbers, words, text and `{"b64": ...}`.

The rules and the wording of errors are those of `util/json_tensor.cc` of
github.com/tensorflow/serving.
"""

import base64
import binascii
import json
import math
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.serving.server.request_error import make_invalid

_SHOWN = 200  # characters of a value in an error


def is_base64(value: Any) -> bool:
    is_one = isinstance(value, dict) and value.keys() == {"b64"}
    return is_one and isinstance(value["b64"], str)


def read_array(value: Any, dtype: tf.DType) -> np.ndarray:
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    leaves: list[Any] = []
    _collect_leaves(value, shape, 0, dtype, leaves)
    return np.array(leaves, dtype=dtype.as_numpy_dtype).reshape(shape)


def _collect_leaves(
    value: Any, shape: list[int], level: int, dtype: tf.DType, leaves: list[Any]
) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise make_invalid(
                f"JSON Value: {show_json(value)} found at incorrect level: "
                f"{level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            )
        leaves.append(_read_leaf(value, dtype))
        return
    if level >= len(shape):
        raise make_invalid(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise make_invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for entry in value:
        _collect_leaves(entry, shape, level + 1, dtype, leaves)


def _read_leaf(value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string:
        if isinstance(value, str):
            return _encode(value)
        if isinstance(value, dict):
            return _decode_base64(value)
    elif dtype == tf.bool:
        if isinstance(value, bool):
            return value
    elif dtype.is_integer:
        if type(value) is int and dtype.min <= value <= dtype.max:
            return value
    elif dtype.is_floating:
        if type(value) in (int, float):
            return _read_float(value, dtype)
    raise make_invalid(
        f"JSON Value: {show_json(value)} Type: {_name_type(value)} is not of expected "
        f"type: {dtype.name}"
    )


def _read_float(value: float, dtype: tf.DType) -> float:
    if isinstance(value, float) and not math.isfinite(value):
        return value
    limits = np.finfo(dtype.as_numpy_dtype)
    # A whole number has to fit the mantissa, a decimal one the range.
    largest = 2 ** (limits.nmant + 1) - 1 if type(value) is int else float(limits.max)
    if abs(value) > largest:
        raise make_invalid(
            f"Cannot convert JSON value: {show_json(value)} to {dtype.name} without "
            "loss of precision."
        )
    return float(value)


def _decode_base64(value: dict[str, Any]) -> bytes:
    if not is_base64(value):
        raise make_invalid(
            f"JSON Value: {show_json(value)} not formatted correctly for base64 data"
        )
    text = "".join(value["b64"].split()).rstrip("=")  # the padding may be left out
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise make_invalid("Unable to base64 decode") from error


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise make_invalid(
            "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


def _name_type(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "True", False: "False", None: "Null"}[value]
    names = {str: "String", dict: "Object", list: "Array", int: "Number"}
    return names.get(type(value), "Number")


def show_json(value: Any) -> str:
    """Returns a value for an error, cut: an image's base64 helps nobody."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
