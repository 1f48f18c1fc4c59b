"""The one optimizer of a run: AdamW, its schedule, and the weights' average."""

from collections.abc import Sequence
from typing import Any

import keras
import ml_collections
from keras import ops


@keras.saving.register_keras_serializable(package="tf_multimodal")
class AveragingAdamW(keras.optimizers.AdamW):
    """AdamW that also keeps an exponential moving average of the weights.

    Keras's own average is written into the weights when `fit` ends and goes by
    position, which breaks resuming and unfreezing. This one goes by variable and
    is only read, by `swap_averages`. BatchNorm's statistics are not averaged: they
    are moving averages themselves.

    Args:
        average_decay: float in [0, 1), decay per step; the first steps use
            `(1 + step) / (10 + step)` where that is smaller. 0: no average.
        **kwargs: as `keras.optimizers.AdamW`.
    """

    def __init__(self, average_decay: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.average_decay = average_decay
        self.averages: list[Any] = []

    def build(self, variables: Sequence[Any]) -> None:
        super().build(variables)
        if not self.average_decay:
            return
        self.averages = [
            self.add_variable_from_reference(v, name="average", initializer="zeros")
            for v in variables
        ]
        for average, variable in zip(self.averages, variables, strict=True):
            average.assign(ops.copy(variable))  # JAX: no buffer of its own otherwise

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        result = super().apply(grads, trainable_variables)
        if self.average_decay:
            step = ops.cast(self.iterations, "float32")
            decay = ops.minimum(self.average_decay, (1 + step) / (10 + step))
            for variable in trainable_variables or self._trainable_variables:
                average = self.averages[self._get_variable_index(variable)]
                average.assign(average + (variable - average) * (1 - decay))
        return result

    def get_config(self) -> dict:
        return {**super().get_config(), "average_decay": self.average_decay}

    def swap_averages(self) -> None:
        """Exchanges the weights and their averages; call it again to undo."""
        if not self.average_decay:
            return
        for average, variable in zip(
            self.averages, self._trainable_variables, strict=True
        ):
            value = ops.copy(variable)
            variable.assign(average)
            average.assign(value)


def make_optimizer(
    config: ml_collections.ConfigDict,
    total_steps: int,
    variables: Sequence[Any],
    scale_loss: bool,
) -> keras.optimizers.Optimizer:
    """Returns the run's optimizer, built over every variable that it trains.

    Args:
        config: `config.train`.
        total_steps: steps of the whole run, for warm-up and cosine decay.
        variables: the variables to train.
        scale_loss: wrap it in Keras's loss scaling (for mixed_float16).
    """
    warmup_steps = round(config.warmup_fraction * total_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else config.learning_rate,
        decay_steps=max(1, total_steps - warmup_steps),
        warmup_target=config.learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    optimizer: keras.optimizers.Optimizer = AveragingAdamW(
        average_decay=config.ema,
        learning_rate=schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
    )
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in variables if len(v.shape) < 2 or "embedding" in v.path]
    )
    if scale_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def get_inner(optimizer: keras.optimizers.Optimizer) -> AveragingAdamW:
    """Returns the AdamW inside a loss scaling optimizer, or itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)
