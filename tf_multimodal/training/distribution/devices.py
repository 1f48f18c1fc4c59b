"""One device, and what the other ways to spread a run over devices have in common."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tf_multimodal.data.share import Share

FAILED, DONE = b"failed ", b"done"


class ChiefError(RuntimeError):
    """What the chief was to do for all workers failed; the message says why."""


class Devices:
    """One device in one process; the other kinds override what differs there.

    Methods marked as collective are called by all workers at the same time.

    Attributes:
        name: for messages.
        num_replicas: copies of the model, over all workers.
        num_workers: processes.
        worker: number of this one, from 0; the first is the chief, which writes.
    """

    name = "one device"
    num_replicas = 1
    num_workers = 1
    worker = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files."""
        return self.worker == 0

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """The model and its optimizer are made within it."""
        yield

    def split_batch(self, batch_size: int) -> Share:
        """Returns the rows of each global batch that this worker makes.

        Args:
            batch_size: rows of the global batch.

        Raises:
            ValueError: it cannot be divided among the replicas.
        """
        return Share(0, batch_size)

    def describe_batch(self, batch_size: int) -> str:
        """Returns replicas, global and per-replica batch, for the log."""
        low, more = divmod(batch_size, self.num_replicas)
        rows = f"{low} or {low + 1}" if more else f"{low}"
        plural = "s" if self.num_replicas > 1 else ""
        return (
            f"{self.num_replicas} replica{plural} ({self.name}), global batch "
            f"{batch_size}, per-replica batch {rows}"
        )

    def prepare_model(self, model: keras.Model, config: Any) -> None:
        """Changes what a layer does where there are several replicas.

        Args:
            model: before it is compiled.
            config: the whole configuration.
        """

    def wrap_loss(self, loss: keras.losses.Loss, batch_size: int) -> keras.losses.Loss:
        """Returns the loss so that the replicas' sum is that of the global batch."""
        return loss

    def distribute(self, make_dataset: Callable[[], Any], batch_size: int) -> Any:
        """Returns what `fit` reads.

        Args:
            make_dataset: makes this worker's batches, `split_batch`'s rows of each.
            batch_size: rows of the global batch.
        """
        return make_dataset()

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Around `fit` and all that is collective.

        Raises:
            LostWorker: another worker is gone.
        """
        yield

    def predict(self, model: keras.Model, inputs: Any) -> np.ndarray:
        """Returns logits [b, classes] of this worker's rows."""
        # As arrays: JAX does not take TensorFlow's tensors. Not the task's own method:
        # with a preprocessor attached it would apply it again.
        arrays = keras.tree.map_structure(np.asarray, inputs)
        return keras.Model.predict_on_batch(model, arrays)

    def read(self, variables: Sequence[Any]) -> list[np.ndarray]:
        """Returns copies of the variables' values; collective."""
        return [np.array(keras.ops.convert_to_numpy(v)) for v in variables]

    def assign(self, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
        """Gives the variables the values that `read` returned; collective."""
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def gather(self, value: bytes) -> list[bytes]:
        """Returns what each worker gave, in their order; collective."""
        return [value]

    def agree(self, flag: bool) -> bool:
        """Returns whether any worker says so; collective."""
        return flag

    def run_on_chief(self, function: Callable[[], Any]) -> None:
        """Runs something on the chief while the others wait; collective.

        Raises:
            ChiefError: on the other workers, with the message of the chief's error.
        """
        if not self.is_chief:
            answer = self.gather(b"")[0]
            if answer.startswith(FAILED):
                raise ChiefError(answer.removeprefix(FAILED).decode())
            return
        try:
            function()
        except Exception as error:
            self.gather(FAILED + str(error).encode())
            raise
        self.gather(DONE)
