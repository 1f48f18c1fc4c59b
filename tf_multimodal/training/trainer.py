"""Joins the parts of a run in Keras's `fit`, and goes back where it must."""

import contextlib
import dataclasses
import itertools
import json
import sys
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from tf_multimodal.data import labels, pipeline
from tf_multimodal.data.atomic_file import write_text
from tf_multimodal.data.dropped import DroppedRows
from tf_multimodal.data.source import Source
from tf_multimodal.evaluation.validation import Validation
from tf_multimodal.training import callbacks
from tf_multimodal.training.compiled_model import build_compiled_model
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.interruption import Interrupted, Interruption
from tf_multimodal.training.interval import Interval
from tf_multimodal.training.losses import make_metrics
from tf_multimodal.training.model_builder import build_preprocessor
from tf_multimodal.training.plan import make_plan
from tf_multimodal.training.recorder import Recorder
from tf_multimodal.training.rollback import NonFiniteLoss, Rollbacks
from tf_multimodal.training.run_directory import RunDirectory
from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.snapshot import Snapshot, StateVariables
from tf_multimodal.training.state.store import StateStore
from tf_multimodal.training.state.writer import StateWriter
from tf_multimodal.training.steps import Steps
from tf_multimodal.training.trackers import Trackers


class Trainer:
    """One run: its parts, and the loop of fitting and going back.

    Args:
        config: the whole configuration.
        directory: of the run.
        source: the rows.
        devices: where it trains.
        interruption: signals received.

    Raises:
        ValueError: there are no validation rows to choose the best weights by.
        StateError: the states are damaged beyond use.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        directory: RunDirectory,
        source: Source,
        devices: Devices,
        interruption: Interruption,
    ) -> None:
        self._config, self._directory, self._source = config, directory, source
        self._devices, self._interruption = devices, interruption
        self._indices = source.get_indices("train")
        if config.train.keep == "best" and not len(source.get_indices("validation")):
            raise ValueError(
                f"{source.name} has no validation rows to choose the best weights by. "
                "Add some, or set config.train.keep='last'."
            )
        self._plan = make_plan(config.train, len(self._indices))
        self._preprocessor = build_preprocessor(config, self._read_texts())
        with devices.scope():
            metrics = make_metrics(source.label_sets is not None)
            self._model = build_compiled_model(
                config, source, self._preprocessor, self._plan.total, devices, metrics
            )
        self._variables = StateVariables(self._model, metrics, devices)
        self._store = StateStore(
            directory.state, directory.read_run_id(), config.train.keep_states
        )
        self._rollbacks = Rollbacks(directory.rollbacks, devices.is_chief)
        self._begun: Snapshot | None = None
        self._progress = Progress()
        self._validation = Validation(
            self._model,
            self._preprocessor,
            source,
            source.get_indices("validation"),
            batch_size=config.train.batch_size,
            share=devices.split_batch(config.train.batch_size),
            predict=devices.predict,
            gather=devices.gather,
            check=self._check_interruption,
        )
        if reason := self._validation.describe_confusion():
            print(f"TensorBoard gets no confusion matrix: {reason}.")

    def train(self) -> None:
        """Runs the steps that are left and writes `finished.json`.

        Raises:
            Interrupted: a signal came; the state is written.
            NonFiniteLoss: for the last time that is allowed.
            LostWorker: another process is gone.
        """
        with (
            self._interruption.delayed(),
            StateWriter(self._store, self._directory.best) as writer,
            self._make_trackers() as trackers,
        ):
            self._recorder = Recorder(
                self._directory,
                self._progress,
                self._variables,
                writer,
                self._devices,
                self._save_preset,
                trackers,
            )
            with contextlib.closing(self._recorder), self._devices.fitting():
                self._restore()
                while not self._is_done():
                    try:
                        self._fit()
                    except NonFiniteLoss as error:
                        writer.wait()
                        self._roll_back(error)
        if self._devices.is_chief:
            self._finish()

    def _make_trackers(self) -> Trackers:
        names = self._config.train.trackers if self._devices.is_chief else ()
        path = self._directory.trackers
        return Trackers(names, path, self._config, self._model)

    def _is_done(self) -> bool:
        progress = self._progress
        is_over = progress.step >= self._plan.total or progress.stopped
        return is_over and progress.train_metrics is None

    def _finish(self) -> None:
        progress = self._progress
        if progress.stopped:
            print(f"Stopped at step {progress.step}: no progress on validation.")
        values = dataclasses.asdict(progress)
        write_text(self._directory.finished, json.dumps(values, indent=2) + "\n")
        is_last = self._config.train.keep == "last"
        kept = progress.step if is_last else progress.best_step
        print(f"Finished. {self._directory.best} holds the weights of step {kept}.")

    def _read_texts(self) -> list[str]:
        """Returns the training texts if a vocabulary is to be learnt from them."""
        if self._config.model.text.vocabulary != "learn":
            return []
        texts: Any = self._source.texts[self._indices]
        if self._source.captions is not None:
            texts = itertools.chain.from_iterable(self._source.captions[self._indices])
        return [text for text in texts if isinstance(text, str)]

    def _restore(self) -> None:
        """Puts the newest state into the model, or writes the first one."""
        snapshot = self._read_newest()
        if snapshot is None:
            if self._devices.is_chief:
                self._store.write_frozen(self._variables.take_frozen())
            self._recorder.save_state()
            self._recorder.wait()
            return
        self._variables.restore_frozen(self._store.read_frozen())
        self._go_on_from(snapshot)
        if self._progress.step:
            print(f"Going on from the state of step {self._progress.step}.")

    def _read_newest(self) -> Snapshot | None:
        """Reads the newest intact state; all workers the one that the chief chose."""
        if not self._devices.is_chief:
            chosen = self._devices.gather(b"")[0]
            return self._store.read(int(chosen)) if chosen else None
        snapshot, reasons = self._store.read_newest()
        for reason in reasons:
            print(f"Warning: {reason}")
        chosen = str(snapshot.progress.step).encode() if snapshot else b""
        self._devices.gather(chosen)
        return snapshot

    def _go_on_from(self, snapshot: Snapshot) -> None:
        self._variables.restore(snapshot)
        vars(self._progress).update(vars(snapshot.progress))
        step, interval = snapshot.progress.step, self._plan.interval
        self._begun = snapshot if step % interval else None
        is_open = self._progress.train_metrics is not None
        self._recorder.restore_logs(snapshot.logs, step // interval - is_open)
        if self._devices.is_chief:
            self._store.publish_best(self._directory.best)

    def _roll_back(self, error: NonFiniteLoss) -> None:
        """Goes back to the last good state; what caused the error is left out."""
        if self._config.data.service:
            raise NonFiniteLoss(
                f"{error} The batches of config.data.service come in any order, so "
                "that nobody knows which one to leave out.",
                error.step,
                error.batches,
            )
        limit = self._config.train.max_rollbacks
        if len(self._rollbacks.entries) >= limit:
            raise NonFiniteLoss(
                f"{error} The run has gone back {limit} times already "
                "(config.train.max_rollbacks). Lower config.train.learning_rate, set "
                "config.train.clip_norm, or use config.dtype_policy=float32, with "
                "another --workdir.",
                error.step,
                error.batches,
            )
        snapshot = self._read_newest()
        assert snapshot is not None  # that of step 0 at least
        entry = self._rollbacks.add(error, snapshot.progress.step)
        print(
            f"{error} Back to the state of step {entry.state_step}; the batches "
            f"{', '.join(map(str, entry.skipped))} are left out "
            f"({len(self._rollbacks.entries)} of {limit} times)."
        )
        self._go_on_from(snapshot)

    def _fit(self) -> None:
        """Fits what is left of a begun interval, then all the others."""
        progress, plan = self._progress, self._plan
        dropped = DroppedRows(
            self._source,
            self._config.data.max_drop_rate,
            len(self._indices),
            self._directory.dropped if self._devices.is_chief else None,
        )
        dropped.record_left_out()
        try:
            if progress.train_metrics is not None:
                self._end_interval(dropped)
            left = -progress.step % plan.interval
            if left:
                first = progress.step // plan.interval
                self._fit_intervals(dropped, left, first, first + 1)
            if not self._is_done():
                first, last = (
                    progress.step // plan.interval,
                    plan.total // plan.interval,
                )
                self._fit_intervals(dropped, plan.interval, first, last)
        except tf.errors.OpError as error:
            if dropped.error is not None:
                raise dropped.error from error
            raise
        if self._source.left_out:
            print(dropped.describe_left_out())
        if dropped.reasons:
            print(
                f"{len(dropped.reasons)} training rows are bad, "
                f"{len(dropped.left_out)} of them were left out: "
                f"{self._directory.dropped}"
            )

    def _fit_intervals(
        self, dropped: DroppedRows, steps: int, first: int, last: int
    ) -> None:
        batch_size, devices = self._config.train.batch_size, self._devices
        print(
            f"Training on {len(self._indices)} pairs from step {self._progress.step}: "
            f"{self._plan.total} steps in all, a state every {self._plan.interval}. "
            f"{devices.describe_batch(batch_size)}."
        )
        # Task.fit would map the preprocessor over ready batches.
        keras.Model.fit(
            self._model,
            devices.distribute(lambda: self._make_dataset(dropped), batch_size),
            steps_per_epoch=steps,
            initial_epoch=first,
            epochs=last,
            callbacks=self._make_callbacks(dropped),
            shuffle=False,  # the data set has its own order
            verbose=(1 if sys.stdout.isatty() else 2) if devices.is_chief else 0,
        )

    def _end_interval(self, dropped: DroppedRows) -> None:
        """Evaluates and logs an interval that an interruption left open."""
        every = keras.callbacks.CallbackList(
            self._make_callbacks(dropped), model=self._model
        )
        epoch = self._progress.step // self._plan.interval - 1
        every.on_train_begin()
        every.on_epoch_begin(epoch)
        every.on_epoch_end(epoch, dict(self._progress.train_metrics or {}))
        every.on_train_end()

    def _make_dataset(self, dropped: DroppedRows) -> tf.data.Dataset:
        config = self._config
        return pipeline.make_train_dataset(
            self._source,
            self._indices,
            self._preprocessor,
            config,
            start_step=self._progress.batch,
            class_weights=self._compute_class_weights(),
            dropped=dropped,
            share=self._devices.split_batch(config.train.batch_size),
            skipped=self._rollbacks.skipped,
        )

    def _compute_class_weights(self) -> Any:
        if self._config.train.class_weights == "none":
            return None
        return labels.compute_class_weights(
            self._source.labels[self._indices], len(self._source.classes)
        )

    def _make_callbacks(self, dropped: DroppedRows) -> list[keras.callbacks.Callback]:
        config, plan = self._config.train, self._plan
        made: list[keras.callbacks.Callback] = [
            Steps(
                self._progress,
                plan.interval,
                self._rollbacks.skipped,
                self._variables,
                self._recorder,
                self._devices,
                self._interruption,
                config.state_minutes,
            ),
            callbacks.BadRows(dropped, self._devices),
            callbacks.Speed(config.batch_size, self._progress, plan.total),
            Interval(
                self._progress,
                plan,
                config,
                self._variables,
                self._begun,
                self._validation.compute_metrics,
                self._recorder,
                self._devices,
                self._interruption,
                self._validation.draw_pictures,
            ),
        ]
        self._begun = None
        return made

    def _check_interruption(self) -> None:
        """Ends an evaluation; several workers go on to its end, to stop together."""
        received = self._interruption.signal
        if received is not None and self._devices.num_workers == 1:
            raise Interrupted(received, self._progress.step)

    def _save_preset(self, folder: str) -> None:
        self._model.preprocessor = self._preprocessor
        try:
            self._model.save_to_preset(folder)
        finally:
            self._model.preprocessor = None
