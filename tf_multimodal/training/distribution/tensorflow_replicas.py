"""Copies of the model on several devices, on TensorFlow: one process, or several."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_multimodal.data.share import Share
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.distribution.keras_fixes import fixed_keras
from tf_multimodal.training.distribution.share_of_batch import ShareOfBatch
from tf_multimodal.training.interruption import LostWorker

# How TensorFlow says that another process is gone: by the error's kind, or its text.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
)
ABORTED = "Collective ops is aborted by: "
TF_CONFIG = (
    'Expected e.g. {"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": '
    '{"type": "worker", "index": 0}}; `cluster` is the same for all processes.'
)


class Replicas(Devices):
    """Replicas of the model under a strategy of `tf.distribute`.

    Every replica draws the same random numbers, dropout's too: their seed
    generators advance together, and one value of each is the state.

    Args:
        strategy: of one process or several.
        num_workers: processes.
        worker: number of this one, the chief's is 0.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, num_workers: int = 1, worker: int = 0
    ) -> None:
        self.strategy, self.num_workers, self.worker = strategy, num_workers, worker
        self.num_replicas = strategy.num_replicas_in_sync
        self._num_local = self.num_replicas // num_workers
        self._predicts: tuple[keras.Model, Callable[..., Any]] | None = None

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with self.strategy.scope():
            yield

    def split_batch(self, batch_size: int) -> Share:
        if batch_size < self.num_replicas:
            raise ValueError(
                f"config.train.batch_size={batch_size} is the global batch; it leaves "
                f"some of {self.num_replicas} replicas ({self.name}) without a row. "
                f"Set it to {self.num_replicas} at least, or use fewer devices."
            )
        bounds = self._divide(batch_size)
        first = self.worker * self._num_local
        return Share(int(bounds[first]), int(bounds[first + self._num_local]))

    def prepare_model(self, model: keras.Model, config: Any) -> None:
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = config.train.synchronized_batch_norm

    def wrap_loss(self, loss: keras.losses.Loss, batch_size: int) -> keras.losses.Loss:
        if batch_size % self.num_replicas == 0:
            return loss
        return ShareOfBatch(loss, batch_size, self.num_replicas)

    def distribute(
        self, make_dataset: Callable[[], tf.data.Dataset], batch_size: int
    ) -> Any:
        first = self.worker * self._num_local
        sizes = np.diff(self._divide(batch_size))[first : first + self._num_local]
        even = len(set(sizes)) == 1
        # Said to be endless: else the workers ask each other at every step.
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)

        def make_parts(_: tf.distribute.InputContext) -> tf.data.Dataset:
            dataset = make_dataset().rebatch(sizes[0] if even else sizes)
            return dataset.apply(endless)

        return self.strategy.distribute_datasets_from_function(make_parts)

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        with fixed_keras():
            yield

    def predict(self, model: keras.Model, inputs: Any) -> np.ndarray:
        # Keras's own would give every replica the whole batch, and wait for others.
        if self._predicts is None or self._predicts[0] is not model:
            self._predicts = model, self._make_predict(model)
        rows = len(keras.tree.flatten(inputs)[0])
        bounds = [rows * i // self._num_local for i in range(self._num_local + 1)]
        first = self.worker * self._num_local

        def take_part(context: Any) -> Any:
            local = context.replica_id_in_sync_group - first
            part = slice(bounds[local], bounds[local + 1])
            return keras.tree.map_structure(lambda x: tf.constant(x[part]), inputs)

        parts = self.strategy.experimental_distribute_values_from_function(take_part)
        outputs = self.strategy.experimental_local_results(self._predicts[1](parts))
        return np.concatenate([output.numpy() for output in outputs])

    def read(self, variables: Sequence[Any]) -> list[np.ndarray]:
        parts = [self._list_parts(variable) for variable in variables]
        values = [np.array(part[0].numpy()) for part in parts]
        summed = [i for i, v in enumerate(variables) if _is_summed(v)]
        if not summed:  # the only ones to need the other workers
            return values
        sums = [np.sum([p.numpy() for p in parts[i]], axis=0) for i in summed]
        data = b"".join(value.astype(np.float64).tobytes() for value in sums)
        total = np.sum([np.frombuffer(each) for each in self.gather(data)], axis=0)
        for i in summed:
            shape, dtype = values[i].shape, values[i].dtype
            own, total = np.split(total, [values[i].size])
            values[i] = own.reshape(shape).astype(dtype)
        return values

    def assign(self, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
        for variable, array in zip(variables, arrays, strict=True):
            for number, part in enumerate(self._list_parts(variable)):
                is_first = number == 0 and self.is_chief
                kept = is_first or not _is_summed(variable)
                part.assign(array if kept else np.zeros_like(array))

    def _list_parts(self, variable: Any) -> tuple[tf.Variable, ...]:
        """Returns a Keras variable's copies on this process's replicas."""
        return self.strategy.experimental_local_results(variable.value)

    def _divide(self, batch_size: int) -> np.ndarray:
        """Returns bounds int [num_replicas + 1]; sizes differ by one at most."""
        return batch_size * np.arange(self.num_replicas + 1) // self.num_replicas

    def _make_predict(self, model: keras.Model) -> Callable[..., Any]:
        @tf.function(reduce_retracing=True)
        def predict(parts: Any) -> Any:
            return self.strategy.run(lambda part: model(part, training=False), (parts,))

        return predict


class MirroredReplicas(Replicas):
    """All GPUs of this machine, or where it has none its logical CPU devices."""

    def __init__(self) -> None:
        devices = tf.config.list_logical_devices("GPU")
        devices = devices or tf.config.list_logical_devices("CPU")
        super().__init__(tf.distribute.MirroredStrategy([d.name for d in devices]))
        self.name = "MirroredStrategy"


class WorkerReplicas(Replicas):
    """The devices of all processes that TF_CONFIG names.

    Raises:
        ValueError: TF_CONFIG is missing, or not as it should be.
        LostWorker: another process was there and is gone.
    """

    def __init__(self) -> None:
        num_workers, worker = read_tf_config()
        with _naming_lost_workers():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        super().__init__(strategy, num_workers, worker)
        self.name = f"MultiWorkerMirroredStrategy, {num_workers} workers"
        self._gather_rows = tf.function(
            lambda rows: strategy.gather(rows, axis=0),
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
        )

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        with _naming_lost_workers(), super().fitting():
            yield

    def gather(self, value: bytes) -> list[bytes]:
        data = np.frombuffer(value, np.uint8).astype(np.int32)[None]
        with _naming_lost_workers():
            sizes = self._gather_rows(np.array([[data.size]], np.int32)).numpy()[:, 0]
            if not sizes.any():
                return [b""] * self.num_workers
            # A collective operation wants as many numbers of each.
            padded = np.pad(data, ((0, 0), (0, sizes.max() - data.size)))
            rows = self._gather_rows(padded).numpy().astype(np.uint8)
        return [row[:size].tobytes() for row, size in zip(rows, sizes, strict=True)]

    def agree(self, flag: bool) -> bool:
        return any(map(bool, self.gather(b"1" if flag else b"")))


def read_tf_config() -> tuple[int, int]:
    """Returns the number of workers and of this one, by the variable TF_CONFIG.

    Raises:
        ValueError: it is missing, or not as it should be; the message says how.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise ValueError(
            "config.distribution='multiworker' reads the processes' addresses from the "
            f"environment variable TF_CONFIG, and it is not set. {TF_CONFIG}"
        )
    try:
        config = json.loads(text)
        cluster = {job: list(config["cluster"][job]) for job in config["cluster"]}
        job, index = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"TF_CONFIG is not as expected ({error!r}). {TF_CONFIG} Received: {text}"
        ) from error
    others = sorted(set(cluster) - {"chief", "worker"})
    if others:
        raise ValueError(
            f"TF_CONFIG names {', '.join(others)}: only `chief` and `worker` take part "
            f"in this training. {TF_CONFIG} Received: {text}"
        )
    if not 0 <= index < len(cluster.get(job, [])):
        raise ValueError(
            f"TF_CONFIG's task, {job} {index}, is not in its cluster. {TF_CONFIG} "
            f"Received: {text}"
        )
    chiefs = len(cluster.get("chief", []))
    return chiefs + len(cluster.get("worker", [])), index + chiefs * (job == "worker")


def _is_summed(variable: Any) -> bool:
    return variable.value.synchronization == tf.VariableSynchronization.ON_READ


@contextlib.contextmanager
def _naming_lost_workers() -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        if not isinstance(error, LOST) and ABORTED not in error.message:
            raise
        cause = error.message.partition(ABORTED)[2] or error.message
        raise LostWorker(
            "Another worker is gone, or cannot be reached, and this one cannot go on "
            "alone. Start all of them again with the same command: the run goes on "
            f"from its last state. TensorFlow says: {' '.join(cause.split()[:40])}"
        ) from error
