"""All devices of one or more processes through Keras's distribution API, on JAX."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import keras
import numpy as np
import tensorflow as tf
from jax.experimental import multihost_utils
from keras import distribution

from tf_multimodal.data.share import Share
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.distribution.jax_processes import (
    join_processes,
    lost_worker_raised,
)

BATCH, MODEL = "batch", "model"
# Weights of the text encoder by their path, and the axes that are split.
TEXT_LAYOUTS: dict[str, tuple[str | None, ...]] = {
    r"(.*/)?token_embedding/embeddings": (None, MODEL),
    r"(.*/)?self_attention_layer/(query|key|value)/kernel": (None, MODEL, None),
    r"(.*/)?self_attention_layer/(query|key|value)/bias": (MODEL, None),
    r"(.*/)?self_attention_layer/attention_output/kernel": (MODEL, None, None),
    r"(.*/)?feedforward_intermediate_dense/kernel": (None, MODEL),
    r"(.*/)?feedforward_intermediate_dense/bias": (MODEL,),
    r"(.*/)?feedforward_output_dense/kernel": (MODEL, None),
}


class TextParallel(distribution.ModelParallel):
    """Keras's ModelParallel; it says which weight cannot be split."""

    def get_variable_layout(self, variable: Any) -> Any:
        layout = super().get_variable_layout(variable)
        shards = self.device_mesh.shape[1]
        for size, axis in zip(variable.shape, layout.axes, strict=True):
            if axis == MODEL and size % shards:
                raise ValueError(
                    f"config.model_shards={shards} must divide the heads and widths of "
                    f"the text encoder. Received: {size}, in {variable.path} of shape "
                    f"{tuple(variable.shape)}"
                )
        return layout


class JaxDevices(Devices):
    """Every device of every process; all see the one global batch as one array.

    BatchNorm's statistics, the loss and the random numbers are therefore those of
    one device with the same batch.

    Args:
        model_shards: devices of a process that the wide weights of the text encoder
            are split over.

    Raises:
        ValueError: Keras runs on another backend, the variables that name the
            processes are wrong, or the devices cannot be divided.
    """

    def __init__(self, model_shards: int = 1) -> None:
        if keras.backend.backend() != "jax":
            raise ValueError(
                "config.distribution='jax' needs Keras on the JAX backend. Set the "
                "environment variable KERAS_BACKEND=jax before Keras is imported. "
                f"Received: {keras.backend.backend()}"
            )
        tf.config.set_visible_devices([], "GPU")  # TensorFlow makes batches alone
        join_processes()
        names = distribution.list_devices()
        local = jax.local_device_count()
        if local % model_shards:
            raise ValueError(
                f"config.model_shards={model_shards} must divide the devices of a "
                f"process. Received: {local}"
            )
        self.num_replicas = len(names) // model_shards
        self.num_workers, self.worker = jax.process_count(), jax.process_index()
        self.name = f"JAX, {len(names)} device{'s' if len(names) > 1 else ''}"
        if self.num_workers > 1:
            self.name += f" in {self.num_workers} processes"
        if model_shards > 1:
            self.name += f", {model_shards} to a model"
        self._model_shards = model_shards
        self._distribution = make_distribution(names, model_shards)
        self._forward: tuple[keras.Model, Callable[..., Any]] | None = None

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with self._distribution.scope():
            yield

    def split_batch(self, batch_size: int) -> Share:
        if batch_size % self.num_replicas:
            low = batch_size - batch_size % self.num_replicas
            near = [n for n in (low, low + self.num_replicas) if n]
            raise ValueError(
                f"On JAX config.train.batch_size must be a multiple of the "
                f"{self.num_replicas} replicas. Received: {batch_size}. Nearest: "
                f"{' or '.join(map(str, near))}"
            )
        rows = batch_size // self.num_workers
        return Share(self.worker * rows, (self.worker + 1) * rows)

    def prepare_model(self, model: keras.Model, config: Any) -> None:
        if self.num_replicas > 1 and not config.train.synchronized_batch_norm:
            raise ValueError(
                "On JAX BatchNorm always counts the global batch. Received: "
                "config.train.synchronized_batch_norm=False"
            )
        is_whole = all(v.value.sharding.is_fully_replicated for v in model.variables)
        if self._model_shards > 1 and is_whole:
            raise ValueError(
                f"config.model_shards={self._model_shards} splits the text encoder "
                "alone, and the model has none. Set it to 1."
            )

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        with lost_worker_raised(), self.scope():
            yield

    def predict(self, model: keras.Model, inputs: Any) -> np.ndarray:
        if self._forward is None or self._forward[0] is not model:
            by_row = self._distribution.get_data_layout((None, None)).backend_layout
            self._forward = (
                model,
                jax.jit(model.stateless_call, out_shardings=(by_row, None)),
            )
        with self.scope():
            outputs, _ = self._forward[1](
                [v.value for v in model.trainable_variables],
                [v.value for v in model.non_trainable_variables],
                jax.tree.map(self._distribute_rows, dict(inputs)),
            )
        shards = {s.index[0].start or 0: s.data for s in outputs.addressable_shards}
        return np.concatenate([np.asarray(shards[start]) for start in sorted(shards)])

    def gather(self, value: bytes) -> list[bytes]:
        if self.num_workers == 1:
            return [value]
        with lost_worker_raised():
            sizes = multihost_utils.process_allgather(np.int32(len(value)))
            padded = np.zeros(max(1, sizes.max()), np.uint8)
            padded[: len(value)] = np.frombuffer(value, np.uint8)
            rows = multihost_utils.process_allgather(padded)
        return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]

    def agree(self, flag: bool) -> bool:
        return any(row == b"1" for row in self.gather(b"1" if flag else b"0"))

    def _distribute_rows(self, rows: Any) -> jax.Array:
        rows = np.asarray(rows)
        layout = self._distribution.get_data_layout(rows.shape).backend_layout
        return jax.make_array_from_process_local_data(layout, rows)


def make_distribution(names: list[str], model_shards: int) -> Any:
    """Returns Keras's DataParallel, or ModelParallel with several `model_shards`.

    Args:
        names: of all devices, in the order of their processes.
        model_shards: devices that a copy of the model is split over.
    """
    if model_shards == 1:
        return distribution.DataParallel(devices=names, auto_shard_dataset=False)
    shape = (len(names) // model_shards, model_shards)
    layouts = distribution.LayoutMap(
        distribution.DeviceMesh(shape, (BATCH, MODEL), names)
    )
    for path, axes in TEXT_LAYOUTS.items():
        layouts[path] = axes
    return TextParallel(
        layout_map=layouts, batch_dim_name=BATCH, auto_shard_dataset=False
    )
