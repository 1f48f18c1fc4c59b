"""Trains every variant on every fold, in several processes, and keeps predictions."""

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import os
import pathlib
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from tf_multimodal import config as config_lib
from tf_multimodal.data.atomic_file import write_atomically
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import load_source
from tf_multimodal.data.split import assign_parts
from tf_multimodal.experiments.variants import Variant, make_variant_config
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.training import run as training
from tf_multimodal.training.pretrained import resolve_preset
from tf_multimodal.training.run_directory import RunDirectory


class TrainingFailed(RuntimeError):
    """The training of one variant on one fold failed; the message says which."""


@dataclasses.dataclass(frozen=True)
class FoldPredictions:
    """What one variant says of the rows that its fold left out.

    Attributes:
        ids, groups: str [n].
        labels: int [n].
        probabilities: float32 [n, classes].
        seconds: CPU seconds of training and prediction.
    """

    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    seconds: float


def run_folds(
    config: ml_collections.ConfigDict,
    variants: Sequence[Variant],
    workdir: pathlib.Path,
    num_folds: int,
    workers: int,
    reuse_image: pathlib.Path | None = None,
) -> dict[str, list[FoldPredictions]]:
    """Returns the predictions of every variant, a list over the folds.

    Args:
        config: the settings that all variants share.
        variants: what they change.
        workdir: keeps the predictions; those that are there are not made again.
        num_folds: parts of all rows, whatever split they are in.
        workers: processes; each gets its share of the cores.
        reuse_image: workdir of an ablation whose `image` predictions to take over.

    Raises:
        RunDirectoryError: the workdir holds an ablation with another config.
        ValueError: `reuse_image` holds no such predictions, those of another
            config, or of other rows.
        TrainingFailed: one of the trainings failed; names it and its log.
    """
    config_lib.validate_config(config)
    RunDirectory(workdir).claim(config)
    source = load_source(config)
    if source.label_sets is not None:
        raise ValueError(
            f"{source.name} gives rows several labels (config.data.columns.labels), "
            "and folds are compared by the one label of each row. Set "
            "config.data.columns.labels='' and config.data.columns.label."
        )
    folder = workdir / f"predictions_{num_folds}_folds"
    folder.mkdir(exist_ok=True)
    if reuse_image is not None:
        _take_over(reuse_image, folder, config, source, num_folds)
    jobs = [
        (variant, fold)
        for fold in range(num_folds)
        for variant in variants
        if not _name_file(folder, variant.name, fold).exists()
    ]
    print(f"{len(jobs)} of {len(variants) * num_folds} trainings to do.", flush=True)
    if jobs:  # once, before every process would download the same weights
        resolve_preset(config.model.text.preset, config.cache_dir)
    arguments = [
        (config_lib.to_json(config), v, fold, num_folds, workdir, folder)
        for v, fold in jobs
    ]
    _run_jobs(_train_fold, arguments, workers)
    return {
        variant.name: [
            read_predictions(_name_file(folder, variant.name, fold))
            for fold in range(num_folds)
        ]
        for variant in variants
    }


def select_fold(source: Source, fold: int, num_folds: int) -> Source:
    """Returns a source that tests on one fold and trains on all the others."""
    parts = assign_parts(source.labels, source.groups, [1 / num_folds] * num_folds)
    splits = np.where(parts == fold, "test", "train").astype(object)
    return dataclasses.replace(source, splits=splits)


def read_predictions(path: pathlib.Path) -> FoldPredictions:
    """Returns the predictions of one training."""
    with np.load(path, allow_pickle=False) as stored:
        values: dict[str, Any] = {name: stored[name] for name in stored.files}
    return FoldPredictions(**{**values, "seconds": float(values["seconds"])})


def _run_jobs(
    function: Callable[..., str], arguments: list[tuple], workers: int
) -> None:
    context = multiprocessing.get_context("spawn")
    started = time.monotonic()
    threads = max(1, (os.cpu_count() or 1) // workers)
    with concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_share_cores, initargs=(threads,)
    ) as pool:
        futures = [pool.submit(function, *values) for values in arguments]
        try:
            for done, future in enumerate(concurrent.futures.as_completed(futures), 1):
                minutes = (time.monotonic() - started) / 60
                left = minutes / done * (len(futures) - done)
                print(
                    f"[{done}/{len(futures)}] {_get_result(future)}; "
                    f"{minutes:.1f} minutes, about {left:.0f} left",
                    flush=True,
                )
        except BaseException:
            print("Stopping when the trainings under way have ended.", flush=True)
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _get_result(future: concurrent.futures.Future[str]) -> str:
    try:
        return future.result()
    except TrainingFailed as error:
        raise TrainingFailed(str(error)) from error  # from here, not from a library
    except concurrent.futures.BrokenExecutor as error:
        raise TrainingFailed(
            "A process was killed, as a rule because memory ran out: try fewer "
            "--workers. The same command goes on where this one stopped."
        ) from error


def _share_cores(threads: int) -> None:
    """Keeps a worker from taking the cores of the others."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def _train_fold(
    config_json: str,
    variant: Variant,
    fold: int,
    num_folds: int,
    workdir: pathlib.Path,
    folder: pathlib.Path,
) -> str:
    """Trains one variant on one fold; runs in a process of its own."""
    config = make_variant_config(config_lib.from_json(config_json), variant)
    name = f"{variant.name}_{fold}"
    run_dir = workdir / "runs" / name
    run_dir.parent.mkdir(exist_ok=True)
    log_path = run_dir.with_name(f"{name}.log")
    began = time.process_time()
    with open(log_path, "a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        try:
            source = select_fold(load_source(config), fold, num_folds)
            training.run(config, run_dir, source)
            indices = source.get_indices("test")
            found = Predictor.from_run(run_dir).predict_source(source, indices)
        except Exception as error:
            traceback.print_exc(file=log)
            raise TrainingFailed(
                f"Variant {variant.name!r}, fold {fold}: {type(error).__name__}: "
                f"{error}\nIts log: {log_path}"
            ) from error
    labels = source.labels[indices]
    with write_atomically(_name_file(folder, variant.name, fold)) as path:
        np.savez(
            path,
            ids=source.ids[indices].astype(str),
            groups=source.groups[indices].astype(str),
            labels=labels,
            probabilities=found.probabilities,
            seconds=time.process_time() - began,
        )
    shutil.rmtree(run_dir)  # the table needs the predictions alone
    keras.backend.clear_session()
    return f"{variant.name}, fold {fold}: {(found.labels == labels).mean():.1%}"


def _take_over(
    old_workdir: pathlib.Path,
    folder: pathlib.Path,
    config: ml_collections.ConfigDict,
    source: Source,
    num_folds: int,
) -> None:
    """Copies the predictions of the variant `image` that are not there yet."""
    missing = [
        k for k in range(num_folds) if not _name_file(folder, "image", k).exists()
    ]
    if missing:
        _check_config(RunDirectory(old_workdir).config, config)
    for fold in missing:
        path = _name_file(old_workdir / folder.name, "image", fold)
        if not path.exists():
            raise ValueError(
                f"There is no {path}: run the ablation that --reuse_image names to "
                "its end first, with the same number of folds."
            )
        kept = select_fold(source, fold, num_folds)
        expected = kept.ids[kept.get_indices("test")].astype(str)
        if not np.array_equal(read_predictions(path).ids, expected):
            raise ValueError(f"{path} is of other rows: it cannot be taken over.")
        with write_atomically(_name_file(folder, "image", fold)) as temporary:
            shutil.copy(path, temporary)


def _check_config(path: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Checks that two ablations differ in nothing that the images' training reads."""
    if not path.exists():
        raise ValueError(
            f"There is no {path}: --reuse_image expects the --workdir of an ablation."
        )
    old, new = (
        ml_collections.ConfigDict(json.loads(text))
        for text in (path.read_text(encoding="utf-8"), config_lib.to_json(config))
    )
    old.data.mask_label_words = new.data.mask_label_words
    lines = config_lib.list_differences(old, new)
    if lines:
        raise ValueError(
            f"The variant `image` of {path.parent} cannot be taken over: its config "
            "differs in more than data.mask_label_words (there -> now):\n  "
            + "\n  ".join(lines)
            + "\nUse the same config, or leave out --reuse_image."
        )


def _name_file(folder: pathlib.Path, variant: str, fold: int) -> pathlib.Path:
    return folder / f"{variant}_{fold}.npz"
