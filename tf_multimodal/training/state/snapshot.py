"""Takes a run's state out of the model, and puts it back."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.state.progress import Progress


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state of a run at a step.

    Attributes:
        progress: its counters.
        arrays: values of model, optimizer and metrics by place and path.
        logs: content of the log files by name.
    """

    progress: Progress
    arrays: dict[str, np.ndarray]
    logs: dict[str, bytes]


class StateVariables:
    """The variables of a run, those that training changes and the frozen ones.

    Args:
        model: compiled; frozen are encoders that do not train at all.
        metrics: what it was compiled with. Keras lists their variables only once a
            step has run.
        devices: where the variables lie.
    """

    def __init__(
        self,
        model: keras.Model,
        metrics: Sequence[keras.metrics.Metric],
        devices: Devices,
    ) -> None:
        self._model, self._devices = model, devices
        loss = [metric for metric in model.metrics if metric.name == "loss"]
        self._metrics = [v for metric in (*loss, *metrics) for v in metric.variables]

    def take(self, progress: Progress, logs: dict[str, bytes]) -> Snapshot:
        """Copies the variables' values; all workers call it at the same time."""
        if hasattr(self._model, "jax_state_sync"):  # within `fit` on the JAX backend
            self._model.jax_state_sync()
        arrays = self._read(self._list_changing())
        return Snapshot(dataclasses.replace(progress), arrays, logs)

    def restore(self, snapshot: Snapshot) -> None:
        """Puts the values back, but those of the metrics: `fit` clears them.

        Raises:
            ValueError: they are of another model.
        """
        self._assign(
            [*self._list_weights(), *self._model.optimizer.variables],
            {k: v for k, v in snapshot.arrays.items() if not k.startswith("metric/")},
        )

    def restore_metrics(self, snapshot: Snapshot) -> None:
        """Puts the metrics of a begun interval back, after `fit` has cleared them."""
        self._assign(
            self._metrics,
            {k: v for k, v in snapshot.arrays.items() if k.startswith("metric/")},
        )

    def are_finite(self) -> bool:
        """Returns whether weights and optimizer hold finite numbers alone."""
        variables = [*self._list_weights(), *self._model.optimizer.variables]
        floats = (
            v for v in variables if "float" in keras.backend.standardize_dtype(v.dtype)
        )
        return all(bool(ops.all(ops.isfinite(v))) for v in floats)

    def take_frozen(self) -> dict[str, np.ndarray]:
        """Copies the frozen weights, which no step changes."""
        return self._read([("frozen", v) for v in self._list_frozen()])

    def restore_frozen(self, arrays: dict[str, np.ndarray]) -> None:
        """Puts the frozen weights back."""
        self._assign(self._list_frozen(), arrays)

    def _list_changing(self) -> list[tuple[str, Any]]:
        model = self._model
        groups = {
            "model": self._list_weights(),
            "optimizer": model.optimizer.variables,
            "metric": self._metrics,
        }
        return [(kind, v) for kind, variables in groups.items() for v in variables]

    def _list_weights(self) -> list[Any]:
        frozen = {id(v) for v in self._list_frozen()}
        metrics = {id(v) for v in (*self._model.metrics_variables, *self._metrics)}
        return [v for v in self._model.variables if id(v) not in frozen | metrics]

    def _list_frozen(self) -> list[Any]:
        backbone = self._model.backbone
        branches = (backbone.image_branch, backbone.text_branch)
        frozen = (b for b in branches if b is not None and not b.trainable)
        return [v for branch in frozen for v in branch.weights]

    def _read(self, variables: list[tuple[str, Any]]) -> dict[str, np.ndarray]:
        values = self._devices.read([v for _, v in variables])
        return {
            f"{kind}/{number:05d}": value
            for number, ((kind, _), value) in enumerate(
                zip(variables, values, strict=True)
            )
        }

    def _assign(self, variables: list[Any], arrays: dict[str, np.ndarray]) -> None:
        shapes = [tuple(v.shape) for v in variables]
        if [a.shape for a in arrays.values()] != shapes:
            raise ValueError(
                f"The state holds {len(arrays)} arrays, the model has "
                f"{len(variables)} variables, or their shapes differ: the state is of "
                "another model. Choose another --workdir."
            )
        self._devices.assign(variables, list(arrays.values()))
