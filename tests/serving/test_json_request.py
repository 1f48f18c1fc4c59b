"""Requests in JSON as tensors, and outputs as JSON."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tf_multimodal.serving.server.json_answer import write_outputs
from tf_multimodal.serving.server.json_request import parse_body, read_inputs
from tf_multimodal.serving.server.request_error import RequestError

SPEC = {"image_bytes": tf.string, "text": tf.string}


def read(document, **dtypes):
    expected = {
        name: meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum)
        for name, dtype in (dtypes or SPEC).items()
    }
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    tensors = read_inputs(parse_body(body), expected)
    return {name: np.array(x).tolist() for name, x in tensors.items()}


def test_rows_and_columns_mean_the_same():
    row = {"image_bytes": {"b64": "AP8="}, "text": "два"}
    expected = {"image_bytes": [b"\x00\xff", b""], "text": ["два".encode(), b""]}
    empty = {"image_bytes": "", "text": ""}
    assert read({"instances": [row, empty]}) == expected
    columns = {"image_bytes": [{"b64": "AP8"}, ""], "text": ["два", ""]}
    assert read({"inputs": columns}) == expected


def test_a_lone_input_needs_no_name():
    for values in (["a", {"b64": "Yg=="}], [{"x": "a"}, {"x": {"b64": "Yg=="}}]):
        assert read({"instances": values}, x=tf.string) == {"x": [b"a", b"b"]}
    for values in (["a", "b"], {"x": ["a", "b"]}):
        assert read({"inputs": values}, x=tf.string) == {"x": [b"a", b"b"]}
    assert read({"inputs": {"b64": "Yg=="}}, x=tf.string) == {"x": b"b"}


def test_tensors_of_numbers_are_nested_lists():
    row = {"images": [[0.5, 1], [2, math.inf]], "has_image": True, "ids": [3, -4]}
    dtypes = {"images": tf.float32, "has_image": tf.bool, "ids": tf.int32}
    expected = {"images": [row["images"]] * 2, "has_image": [True] * 2}
    assert read({"instances": [row, row]}, **dtypes) == expected | {
        "ids": [[3, -4]] * 2
    }
    (value,) = read(b'{"inputs": [NaN]}', x=tf.float32)["x"]
    assert math.isnan(value)


def test_bytes_that_are_not_utf_8_stay_those_bytes():
    assert read(b'{"inputs": ["a\xff\xfe"]}', x=tf.string) == {"x": [b"a\xff\xfe"]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error: .* at offset: 1"),
        (b'{"inputs": ' + b"[" * 100_000, "JSON Parse error"),
        (b'{"inputs": "\\ud800"}', "surrogate pair in string is invalid"),
        ([1], "Is not object"),
        ({"signature_name": 1, "inputs": []}, "must be a string value"),
        ({"rows": []}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [], "instances": []}, "expecting only one of"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": {"x": "a"}}, "Expecting 'instances' to be an list/array"),
        ({"instances": ["a", {"x": "a"}]}, "value/list but got object at item 1"),
        ({"instances": [{"x": "a"}, "a"]}, "object but got list at item 1"),
        ({"instances": [{"x": "a"}, {}]}, "element: 1 .*keys must be equal to: x"),
        ({"instances": [{"y": "a"}]}, "key: y .*does not have named input: y"),
        ({"instances": ["a", ["a"]]}, r"Expecting shape \[\] but got: \[1\]"),
        ({"instances": [1]}, "JSON Value: 1 Type: Number is not of expected type: str"),
        ({"inputs": {"y": ["a"]}}, "Missing named input: x in 'inputs' object"),
        ({"inputs": [["a"], "b"]}, "found at incorrect level: 2"),
        ({"inputs": [["a"], ["a", "b"]]}, "unexpected size: 2 at level: 1"),
        ({"inputs": ["a", ["b"]]}, "list at unexpected level: 1"),
        ({"inputs": [{"b64": "*"}]}, "Unable to base64 decode"),
        ({"inputs": [{"b64": "YQ==", "text": ""}]}, "not formatted correctly for base"),
    ],
)
def test_a_wrong_request_is_told_as_by_the_server(document, message):
    with pytest.raises(RequestError, match=message) as error:
        read(document, x=tf.string)
    assert error.value.code.name == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (2**24, tf.float32, "without loss of precision"),
        (1e39, tf.float32, "without loss of precision"),
        (True, tf.float32, "Type: True is not of expected type: float32"),
        (2**31, tf.int32, "Type: Number is not of expected type: int32"),
        (1.0, tf.int32, "Type: Number is not of expected type: int32"),
        (None, tf.bool, "Type: Null is not of expected type: bool"),
        ("a", tf.float32, "Type: String is not of expected type: float32"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(value, dtype, message):
    with pytest.raises(RequestError, match=message):
        read({"inputs": [value]}, x=dtype)


def test_several_inputs_need_names():
    for key in ("inputs", "instances"):
        with pytest.raises(RequestError, match=f"{key} is a plain"):
            read({key: ["a"]})


def test_outputs_by_row_and_by_column():
    outputs = {
        "labels": np.array([[b"cat", b"dog"], ["猫".encode(), b"\xff"]], object),
        "scores": np.array([[0.1, 1.0], [np.nan, -np.inf]], np.float32),
        "raw_bytes": np.array([b"\xff", b""], object),
    }
    columns = json.loads(write_outputs(outputs, in_rows=False))["outputs"]
    assert columns["labels"] == [["cat", "dog"], ["猫", "\ufffd"]]
    assert columns["raw_bytes"] == [{"b64": "/w=="}, {"b64": ""}]
    assert columns["scores"][0] == [0.1, 1.0]  # not 0.10000000149011612
    assert math.isnan(columns["scores"][1][0]) and columns["scores"][1][1] == -math.inf
    rows = json.loads(write_outputs(outputs, in_rows=True))["predictions"]
    assert [row["labels"] for row in rows] == columns["labels"]
    assert rows[0] == {key: columns[key][0] for key in outputs}


def test_a_lone_output_stands_without_its_name():
    outputs = {"status": np.array([b"ok", b"missing_input"], object)}
    assert json.loads(write_outputs(outputs, in_rows=True)) == {
        "predictions": ["ok", "missing_input"]
    }
    assert json.loads(write_outputs(outputs, in_rows=False)) == {
        "outputs": ["ok", "missing_input"]
    }


def test_rows_need_a_common_batch_size():
    outputs = {"a": np.zeros([2], np.float32), "b": np.zeros([3], np.float32)}
    with pytest.raises(RequestError, match="no common batch size"):
        write_outputs(outputs, in_rows=True)
    assert json.loads(write_outputs(outputs, in_rows=False))
