"""The check of a graph's operations against the server's."""

import json
import shutil

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_multimodal.serving.server_ops import (
    UnsupportedOpsError,
    check_saved_model,
    read_ops,
    read_server_ops,
)


def save(function, folder):
    """Writes a SavedModel of a function of float32 [n]."""
    module = tf.Module()
    spec = tf.TensorSpec([None], tf.float32)
    module.serve = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"serve": module.serve})
    return folder


def test_the_list_has_what_a_server_links():
    (core_name, core), (text_name, text) = read_server_ops().items()
    assert core_name == "tensorflow 2.20.0"
    assert text_name == "tensorflow-text 2.20.0"
    expected = {"NoOp", "Placeholder", "PartitionedCall", "StatefulPartitionedCall"}
    expected |= {"If", "StatelessIf", "While", "StatelessWhile", "Case", "Const"}
    expected |= {"DecodeImage", "ParallelMapDatasetV2", "DatasetToSingleElement"}
    assert expected <= core
    assert {"FastWordpieceTokenizeWithOffsets", "TFText>RoundRobinTrim"} <= text
    assert not core & text
    python = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    assert not (core | text) & (python | {"CudnnRNNV3", "XlaLaunch", "_FusedConv2D"})


def test_the_exported_model_passes(servable, tmp_path):
    folder = shutil.copytree(servable / "1", tmp_path / "1")
    checked = check_saved_model(folder)
    assert list(checked.ops) == read_ops(folder)
    # From a function in a function, and from TensorFlow Text.
    assert {"DecodeImage", "Conv2D"} <= set(checked.ops)
    assert not [op for op in checked.ops if op.startswith("__inference")]
    assert "FastWordpieceTokenizeWithOffsets" in checked.text_ops
    assert set(checked.text_ops) < set(checked.ops)
    written = json.loads((folder / "assets.extra/server_ops.json").read_text())
    assert written == {
        "ops": list(checked.ops),
        "text_ops": list(checked.text_ops),
        "oldest_server": "2.20.0",
        "checked_against": ["tensorflow 2.20.0", "tensorflow-text 2.20.0"],
    }


def test_python_in_a_function_is_refused_by_name(tmp_path):
    def serve(x):
        def call(y):
            return tf.numpy_function(lambda z: z, [y], tf.float32)

        return {"y": tf.map_fn(call, x)}

    with pytest.raises(UnsupportedOpsError, match="PyFunc, node .*Python") as error:
        check_saved_model(save(serve, tmp_path / "model"))
    assert "AddV2" not in str(error.value)
    assert not (tmp_path / "model/assets.extra/server_ops.json").exists()


def test_a_node_that_calls_a_function_by_its_name_is_no_operation(tmp_path):
    folder = save(lambda x: {"y": x + 1.0}, tmp_path / "model")
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = model.meta_graphs[0].graph_def
    name = graph.library.function[0].signature.name
    graph.node.add(name="call", op=name)
    path.write_bytes(model.SerializeToString())
    assert name not in read_ops(folder)
    check_saved_model(folder)


def test_what_only_a_gpu_runs_is_refused_with_the_way_round(tmp_path):
    folder = save(lambda x: {"y": x + 1.0}, tmp_path / "model")
    path = folder / "saved_model.pb"
    # As long as the name that stands there: the file stays well-formed.
    path.write_bytes(path.read_bytes().replace(b"AddV2", b"Nccl!"))
    with pytest.raises(UnsupportedOpsError, match="Nccl!, node .*replace the layer"):
        check_saved_model(folder)


def test_cudnn_names_the_device_to_export_on(tmp_path):
    def serve(x):
        outputs = tf.raw_ops.CudnnRNNV3(
            input=tf.reshape(x, [1, -1, 1]),
            input_h=tf.zeros([1, tf.size(x), 1]),
            input_c=tf.zeros([1, tf.size(x), 1]),
            params=tf.zeros([16]),
            sequence_lengths=tf.ones([tf.size(x)], tf.int32),
        )
        return {"y": outputs[0]}

    with pytest.raises(UnsupportedOpsError, match="CudnnRNNV3.*VISIBLE_DEVICES=-1"):
        check_saved_model(save(serve, tmp_path / "model"))


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="saved_model.pb cannot be read"):
        check_saved_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"not a protocol buffer")
    with pytest.raises(ValueError, match="saved_model.pb cannot be read"):
        check_saved_model(tmp_path)
