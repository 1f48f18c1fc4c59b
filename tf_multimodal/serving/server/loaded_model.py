"""A SavedModel in this process, asked as TensorFlow Serving asks one.

Checks and wording follow TensorFlow Serving 2.20: `core/server_core.cc`,
`servables/tensorflow/predict_util.cc` and `model_servers/get_model_status_impl.cc`
of github.com/tensorflow/serving.
"""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  (registers the tokenizer's operations)
from tensorflow_serving.apis import model_pb2

from tf_multimodal.serving.model_file import read_meta_graph
from tf_multimodal.serving.server.request_error import (
    RequestError,
    convert_error,
    make_invalid,
)
from tf_multimodal.serving.versions import check_name, locate_version, make_name

DEFAULT_SIGNATURE = "serving_default"


class LoadedModel:
    """One version of a model, loaded without Keras.

    Attributes:
        name: what callers ask for.
        version: its number; 1 where the folder's name is no number.
        folder: the SavedModel.
        signature_defs: inputs and outputs by signature, as the file has them.
    """

    def __init__(self, model_dir: str | pathlib.Path, name: str | None = None) -> None:
        """Loads the newest version.

        Args:
            model_dir: the folder that holds the versions, or one version of it.
            name: what callers ask for; None: made of the folder's name.

        Raises:
            ValueError: there is no SavedModel, one that does not load, or a name that
                cannot stand in a URL.
            OSError: the folder cannot be read.
        """
        located = locate_version(model_dir)
        self.folder = located.folder.resolve()
        self.version = 1 if located.number is None else located.number
        self.name = make_name(located.base_dir) if name is None else name
        check_name(self.name)
        self.signature_defs = dict(read_meta_graph(self.folder).signature_def)
        # Held, because the functions stop working once it is collected.
        try:
            self._model = tf.saved_model.load(str(self.folder))
        except (OSError, tf.errors.OpError) as error:
            raise ValueError(
                f"{self.folder} does not load: {error}. Export the run again with "
                "`python -m export`."
            ) from error

    @property
    def signatures(self) -> list[str]:
        """Names of the signatures that can be asked, the default one first."""
        names = self._model.signatures
        return sorted(names, key=lambda name: (name != DEFAULT_SIGNATURE, name))

    def check_spec(self, spec: model_pb2.ModelSpec) -> None:
        """Raises `RequestError` unless the spec is of this model and version."""
        if not spec.name:
            raise make_invalid("ModelSpec has no name specified.")
        self._check_label(spec)
        if spec.name != self.name or not self._has_version(spec):
            wanted = f"Latest({spec.name})"
            if spec.HasField("version"):
                wanted = f"Specific({spec.name}, {spec.version.value})"
            raise RequestError(
                grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}"
            )

    def check_status_spec(self, spec: model_pb2.ModelSpec) -> None:
        """Raises `RequestError` as the status API does, which words it otherwise."""
        self._check_label(spec)
        if spec.name != self.name:
            message = f"Could not find any versions of model {spec.name}"
        elif not self._has_version(spec):
            message = f"Could not find version {spec.version.value} of model "
            message += spec.name
        else:
            return
        raise RequestError(grpc.StatusCode.NOT_FOUND, message)

    def predict(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        output_filter: Collection[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: tensors by the signature's input names.
            output_filter: names of the outputs to return; empty: all of them.

        Raises:
            RequestError: no such signature, other inputs or outputs than it has,
                another dtype or shape, or what the graph raises.
        """
        if signature not in self._model.signatures:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature}" not found.',
            )
        definition = self.signature_defs[signature]
        _check_names(definition.inputs, inputs)
        for name, tensor in inputs.items():
            _check_tensor(name, tensor, definition.inputs[name])
        _check_outputs(definition.outputs, output_filter)
        try:
            outputs = self._model.signatures[signature](**inputs)
        except tf.errors.OpError as error:
            raise convert_error(error) from error
        return {name: outputs[name].numpy() for name in output_filter or outputs}

    def _has_version(self, spec: model_pb2.ModelSpec) -> bool:
        return not spec.HasField("version") or spec.version.value == self.version

    def _check_label(self, spec: model_pb2.ModelSpec) -> None:
        if spec.version_label:  # labels are set in models.config: there is none here
            raise make_invalid(
                f"Unrecognized servable version label: {spec.version_label}"
            )


def _check_names(expected: Collection[str], received: Collection[str]) -> None:
    extra, missing = set(received) - set(expected), set(expected) - set(received)
    if extra or missing:
        raise make_invalid(
            f"input size does not match signature: {len(received)}!={len(expected)} "
            f"len({{{_join(received)}}}) != len({{{_join(expected)}}}). Sent extra: "
            f"{{{_join(extra)}}}. Missing but required: {{{_join(missing)}}}."
        )


def _check_tensor(name: str, tensor: Any, expected: Any) -> None:
    """Raises `RequestError` unless dtype and shape are as the signature says."""
    dtype, shape = tf.as_dtype(expected.dtype), tf.TensorShape(expected.tensor_shape)
    if tensor.dtype != dtype or not shape.is_compatible_with(tensor.shape):
        raise make_invalid(
            f"Input {name}: expected {dtype.name} of shape {shape}, received "
            f"{tensor.dtype.name} of shape {tensor.shape}."
        )


def _check_outputs(expected: Collection[str], output_filter: Collection[str]) -> None:
    names = list(output_filter)
    for position, name in enumerate(names):
        if name not in expected:
            raise make_invalid(
                f"output tensor alias not found in signature: {name} Outputs expected "
                f"to be in the set {{{_join(expected)}}}."
            )
        if name in names[:position]:
            raise make_invalid(f"duplicate output tensor alias: {name}")


def _join(names: Collection[str]) -> str:
    return ",".join(sorted(names))
