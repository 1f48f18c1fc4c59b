"""One training run, from a config to a directory with a trained model."""

import dataclasses
import itertools
import json
import math
import pathlib
import sys
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from tf_multimodal import config as config_lib
from tf_multimodal.data import labels, pipeline
from tf_multimodal.data.atomic_file import write_text
from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import load_source
from tf_multimodal.evaluation.validation import Validation
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.training import callbacks, groups, precision, state
from tf_multimodal.training.losses import make_loss, make_metrics
from tf_multimodal.training.model_builder import build_classifier, build_preprocessor
from tf_multimodal.training.optimizer import make_optimizer
from tf_multimodal.training.run_directory import RunDirectory

# config.train.epochs=0: so many pairs in all, within these numbers of passes.
AUTO_PAIRS, AUTO_EPOCHS = 60_000, (3, 30)

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
        workdir: the run's directory.
        source: the rows; None: as `config.data` says.

    Returns:
        The run's directory.

    Raises:
        RunDirectoryError: the directory holds a run with another config or data.
        TooManyBadRows: too many training rows cannot be used.
        NonFiniteLoss: the loss is not a number.
    """
    config_lib.validate_config(config, has_rows=source is not None)
    directory = RunDirectory(workdir)
    directory.claim(config)
    if directory.finished.exists():
        print(f"The run in {directory.path} is finished; nothing was changed.")
        return directory.path
    print(f"Config:\n{config_lib.to_json(config)}", end="")
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    source = load_source(config) if source is None else source
    source = directory.write_description(source)
    keras.utils.set_random_seed(config.seed)
    _Trainer(config, directory, source).train()
    return directory.path


@dataclasses.dataclass(frozen=True)
class Plan:
    """Steps of a run: `interval` between states, `total` in all."""

    interval: int
    total: int


def make_plan(config: ml_collections.ConfigDict, num_rows: int) -> Plan:
    """Returns the steps of a run over `num_rows` training rows.

    Args:
        config: `config.train`.
        num_rows: training rows.
    """
    low, high = AUTO_EPOCHS
    epochs = config.epochs or min(max(AUTO_PAIRS / num_rows, low), high)
    one_pass = math.ceil(num_rows / config.batch_size)
    steps = max(1, round(epochs * one_pass))
    interval = min(config.state_steps or one_pass, steps)
    return Plan(interval, interval * round(steps / interval))


class _Trainer:
    """Builds the parts of a run and joins them in Keras's `fit`."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        directory: RunDirectory,
        source: Source,
    ) -> None:
        self.config, self.directory, self.source = config, directory, source
        self.indices = source.get_indices("train")
        if config.train.keep == "best" and not len(source.get_indices("validation")):
            raise ValueError(
                f"{source.name} has no validation rows to choose the best weights by. "
                "Add some, or set config.train.keep='last'."
            )
        self.plan = make_plan(config.train, len(self.indices))
        self.preprocessor = build_preprocessor(config, self._read_texts())
        self.model = self._build_model()
        self.progress = self._restore()
        self.validation = Validation(
            self.model,
            self.preprocessor,
            source,
            source.get_indices("validation"),
            batch_size=config.train.batch_size,
        )

    def train(self) -> None:
        """Runs the steps that are left and writes `finished.json`."""
        plan, progress = self.plan, self.progress
        if progress.step < plan.total and not progress.stopped:
            self._fit()
        if progress.stopped:
            print(f"Stopped at step {progress.step}: no progress on validation.")
        values = dataclasses.asdict(progress)
        write_text(self.directory.finished, json.dumps(values, indent=2) + "\n")
        kept = progress.step if self.config.train.keep == "last" else progress.best_step
        print(f"Finished. {self.directory.best} holds the weights of step {kept}.")

    def _read_texts(self) -> list[str]:
        """Returns the training texts if a vocabulary is to be learnt from them."""
        if self.config.model.text.vocabulary != "learn":
            return []
        texts: Any = self.source.texts[self.indices]
        if self.source.captions is not None:
            texts = itertools.chain.from_iterable(self.source.captions[self.indices])
        return [text for text in texts if isinstance(text, str)]

    def _build_model(self) -> ImageTextClassifier:
        config = self.config
        multi_label = self.source.label_sets is not None
        dtype, why = precision.choose_dtype_policy(config.dtype_policy)
        print(f"Precision: {dtype} ({why}).")
        model = build_classifier(
            config, self.preprocessor, len(self.source.classes), dtype, multi_label
        )
        # Batches come prepared; KerasHub would apply the preprocessor again.
        model.preprocessor = None
        print(groups.freeze_groups(model, config.train.groups))
        self._describe_weights(model)
        jit_compile, why = precision.choose_jit_compile(
            config.jit_compile, model, config.deterministic
        )
        print(f"XLA: {'on' if jit_compile else 'off'} ({why}).")
        model.compile(
            optimizer=make_optimizer(
                config.train,
                self.plan.total,
                model.trainable_variables,
                scale_loss=dtype == "mixed_float16",
            ),
            loss=make_loss(config, multi_label),
            weighted_metrics=make_metrics(multi_label),
            metrics=None,
            jit_compile=jit_compile,
        )
        return model

    def _describe_weights(self, model: ImageTextClassifier) -> None:
        """Says where the encoders' weights come from; refuses frozen random ones."""
        settings = self.config.model
        presets = {
            "image_encoder": (model.backbone.image_branch, settings.image.preset),
            "text_encoder": (
                model.backbone.text_branch,
                settings.text.preset if settings.text.encoder == "bert" else "",
            ),
        }
        for name, (branch, preset) in presets.items():
            if branch is None:
                continue
            count = len(branch.encoder.weights)
            print(f"Weights: {name}, {count} variables from {preset or 'random'}.")
            if not preset and not branch.trainable:
                raise ValueError(
                    f"The {name} starts from random weights and is frozen, so that it "
                    f"would never learn. Set config.train.groups.{name}.frozen=False, "
                    "or give it a preset."
                )

    def _restore(self) -> state.Progress:
        self.directory.repair()
        folder = self.directory.state
        progress = state.restore_state(folder, self.model)
        if progress is None:
            state.save_frozen(folder, self.model)
            return state.Progress()
        self.directory.cut_logs(progress.step)
        print(f"Going on from the state of step {progress.step}.")
        return progress

    def _fit(self) -> None:
        config, plan = self.config, self.plan
        batch_size = config.train.batch_size
        print(
            f"Training on {len(self.indices)} pairs: {plan.total} steps of "
            f"{batch_size}, a state every {plan.interval}. 1 replica, global and "
            f"per-replica batch {batch_size}."
        )
        dropped = DroppedRows(
            self.source,
            config.data.max_drop_rate,
            len(self.indices),
            self.directory.dropped,
        )
        dropped.record_left_out()
        dataset = pipeline.make_train_dataset(
            self.source,
            self.indices,
            self.preprocessor,
            config,
            start_step=self.progress.step,
            class_weights=self._compute_class_weights(),
            dropped=dropped,
        )
        try:
            # Task.fit would map the preprocessor over ready batches.
            keras.Model.fit(
                self.model,
                dataset,
                steps_per_epoch=plan.interval,
                initial_epoch=self.progress.step // plan.interval,
                epochs=plan.total // plan.interval,
                callbacks=self._make_callbacks(dropped),
                shuffle=False,  # the data set has its own order
                verbose=1 if sys.stdout.isatty() else 2,
            )
        except tf.errors.OpError as error:
            if dropped.error is not None:
                raise dropped.error from error
            raise
        if self.source.left_out:
            print(dropped.describe_left_out())
        if dropped.reasons:
            print(
                f"{len(dropped.reasons)} training rows are bad, "
                f"{len(dropped.left_out)} of them were left out: "
                f"{self.directory.dropped}"
            )

    def _compute_class_weights(self) -> Any:
        if self.config.train.class_weights == "none":
            return None
        return labels.compute_class_weights(
            self.source.labels[self.indices], len(self.source.classes)
        )

    def _make_callbacks(self, dropped: DroppedRows) -> list[keras.callbacks.Callback]:
        directory, plan = self.directory, self.plan
        return [
            callbacks.StopAtNonFiniteLoss(directory, plan.interval),
            callbacks.BadRows(dropped),
            callbacks.Speed(self.config.train.batch_size, plan.interval, plan.total),
            callbacks.Interval(
                directory,
                self.progress,
                self.config.train,
                plan.interval,
                plan.total,
                self.validation.compute_metrics,
                self._save_preset,
            ),
            keras.callbacks.TensorBoard(str(directory.tensorboard), write_graph=False),
        ]

    def _save_preset(self, folder: str) -> None:
        self.model.preprocessor = self.preprocessor
        try:
            self.model.save_to_preset(folder)
        finally:
            self.model.preprocessor = None
