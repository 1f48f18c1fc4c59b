"""One training run, from a config to a directory with a trained model."""

import contextlib
import os
import pathlib

import keras
import ml_collections
import tensorflow as tf

from tf_multimodal import config as config_lib
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import load_source
from tf_multimodal.training.distribution.choice import make_devices
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interruption
from tf_multimodal.training.run_directory import RunDirectory
from tf_multimodal.training.run_lock import RunLock
from tf_multimodal.training.trackers import check_installed
from tf_multimodal.training.trainer import Trainer

# What a user can put right.
EXPECTED_ERRORS = (ValueError, OSError, RuntimeError)


def run(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    source: Source | None = None,
) -> pathlib.Path:
    """Trains, or goes on with, the run in a directory.

    Args:
        config: all settings; see `tf_multimodal/config.py`.
        workdir: the run's directory; several workers share it.
        source: the rows; None: as `config.data` says.

    Returns:
        The run's directory.

    Raises:
        RunDirectoryError: the directory holds a run with another config or data.
        RunLockError: another process is at it.
        TooManyBadRows: too many training rows cannot be used.
        NonFiniteLoss: the loss is not a number, more often than is allowed.
        StateError: a state cannot be written, or none of them is intact.
        Interrupted: a signal came; the state is written.
        LostWorker: another worker is gone.
    """
    config_lib.validate_config(config, has_rows=source is not None)
    devices = make_devices(config)  # before anything else of TensorFlow's or JAX's
    with contextlib.ExitStack() as stack:
        if not devices.is_chief:  # the chief says it all
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        interruption = stack.enter_context(Interruption())
        directory = RunDirectory(workdir)
        devices.run_on_chief(lambda: check_installed(config.train.trackers))
        devices.run_on_chief(lambda: directory.check(config))
        if directory.finished.exists():
            print(f"The run in {directory.path} is finished; nothing was changed.")
            return directory.path
        lock = RunLock(directory.path)
        devices.run_on_chief(lambda: stack.enter_context(lock))
        devices.run_on_chief(lambda: directory.claim(config))
        _train(config, directory, source, devices, interruption)
    return directory.path


def _train(
    config: ml_collections.ConfigDict,
    directory: RunDirectory,
    source: Source | None,
    devices: Devices,
    interruption: Interruption,
) -> None:
    print(f"Config:\n{config_lib.to_json(config)}", end="")
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
        # It joins additions into sums of three and more, whose order TensorFlow leaves
        # open even so.
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    rows = _load_rows(config, devices) if source is None else source
    devices.run_on_chief(lambda: directory.write_description(rows))
    rows = directory.write_description(rows)  # checks them by now
    keras.utils.set_random_seed(config.seed)
    Trainer(config, directory, rows, devices, interruption).train()


def _load_rows(config: ml_collections.ConfigDict, devices: Devices) -> Source:
    """Loads the source, on the chief first: what it prepares, the others find."""
    loaded: list[Source] = []
    devices.run_on_chief(lambda: loaded.append(load_source(config)))
    return loaded[0] if loaded else load_source(config)
