"""What Keras 3.15 gets wrong under `tf.distribute`, put right while a model trains.

Each fix has a test that fails when Keras no longer needs it: remove the fix then.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow import trainer as keras_trainer
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer

KERAS_VERSION = "3.15"  # the fixes were last checked with
_reduce_per_replica = keras_trainer.reduce_per_replica


@contextlib.contextmanager
def fixed_keras() -> Iterator[None]:
    """Inside, Keras trains as it should; several replicas alone need it."""
    fixes = (
        (keras_trainer.TensorFlowTrainer, "_maybe_symbolic_build", skip_symbolic_build),
        (keras_trainer, "reduce_per_replica", average_over_replicas),
        (BaseOptimizer, "apply_gradients", apply_summed_gradients),
        (TFOptimizer, "_all_reduce_sum_gradients", keep_gradients),
    )
    with contextlib.ExitStack() as stack:
        for owner, name, fix in fixes:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, fix)
        yield


def skip_symbolic_build(
    model: keras.Model, iterator: Any = None, data_batch: Any = None
) -> None:
    """Does nothing: the model, its optimizer and its metrics are built by now.

    Keras would read the first batch a second time, and average its labels over the
    replicas, which fails for integers on several workers and for uneven batches.
    """


def average_over_replicas(
    values: Any, strategy: tf.distribute.Strategy, reduction: str
) -> Any:
    """Returns the mean of scalars over the replicas.

    On several workers Keras takes it over the first axis, which scalars lack.
    """
    if reduction not in ("auto", "mean"):
        return _reduce_per_replica(values, strategy, reduction)
    return keras.tree.map_structure(
        lambda value: strategy.reduce("MEAN", value, axis=None), values
    )


def apply_summed_gradients(optimizer: Any, grads_and_vars: Any) -> Any:
    """Sums the gradients over the replicas, then clips and applies them.

    Keras clips, and looks for infinite ones when the loss is scaled, before it sums:
    each replica has its own norm then, and the clipped sum is another one.
    """
    gradients, variables = zip(*grads_and_vars, strict=True)
    known = [gradient for gradient in gradients if gradient is not None]
    context = tf.distribute.get_replica_context()
    sums = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, known))
    summed = [None if each is None else next(sums) for each in gradients]
    optimizer.apply(summed, variables)
    return optimizer.iterations


def keep_gradients(optimizer: Any, grads_and_vars: Any) -> Any:
    """Returns them as they are: `apply_summed_gradients` has summed them."""
    return grads_and_vars
