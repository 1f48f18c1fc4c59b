"""For the tests of several rooms: commands, and a run as training leaves it."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
CLASSES = ("bird", "cat", "signs_and_symbols")
# id, image, text, label, split; broken.png does not decode, gone.png is not there.
ROWS = (
    ("a1", "0.png", "a red bird", "bird", "test"),
    ("a2", "1.png", "$5 and $x^$ for two cats", "cat", "test"),
    ("a3", "broken.png", "猫 и собака", "cat", "test"),
    ("a4", "3.png", "", "signs_and_symbols", "test"),
    ("a5", "", "a sign", "signs_and_symbols", "test"),
    ("a6", "gone.png", "", "bird", "test"),
    ("a7", "2.png", "क़ ก 🎉 \x07 bell " + "a very long caption " * 9, "cat", "test"),
    ("b1", "0.png", "a bird", "bird", "train"),
    ("b2", "1.png", "a cat", "cat", "train"),
    ("b3", "3.png", "a symbol", "signs_and_symbols", "train"),
    ("c1", "2.png", "cats", "cat", "validation"),
)
LABEL_SETS = {  # those of the other rows hold their label alone
    "a2": "cat|signs_and_symbols",
    "a4": "",
    "b1": "bird|cat|signs_and_symbols",
}
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a red bird two cats cat sign symbol and 5 x"


@pytest.fixture(scope="session")
def run_command():
    """Runs Python with arguments in a process of its own; returns how that ended."""
    return _run_command


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> pathlib.Path:
    """A run over a manifest of eleven pairs, two of them with a bad image."""
    folder = tmp_path_factory.mktemp("small_run")
    _write_data(folder)
    return _write_run(folder, "image_text")


@pytest.fixture(scope="session")
def image_run(small_run, tmp_path_factory) -> pathlib.Path:
    """A run over the same pairs whose model reads the image alone."""
    folder = tmp_path_factory.mktemp("image_run")
    shutil.copytree(small_run.parent, folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "run")
    return _write_run(folder, "image")


@pytest.fixture(scope="session")
def multi_label_run(small_run, tmp_path_factory) -> pathlib.Path:
    """A run over the same pairs, each of which may have several labels, or none."""
    folder = tmp_path_factory.mktemp("multi_label_run")
    shutil.copytree(small_run.parent, folder, dirs_exist_ok=True)
    shutil.rmtree(folder / "run")
    return _write_run(folder, "image_text", multi_label=True)


@pytest.fixture
def run_copy(small_run, tmp_path) -> pathlib.Path:
    """A copy of the small run that a test may damage."""
    return shutil.copytree(small_run, tmp_path / "run")


def _run_command(*arguments, cwd=ROOT, expect=0, **options):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
        **options,
    )
    assert result.returncode == expect, result.stdout + result.stderr
    return result


def _write_data(folder: pathlib.Path) -> None:
    import tensorflow as tf

    generator = np.random.RandomState(0)
    for number in range(4):
        pixels = generator.randint(0, 256, (6, 8, 3), np.uint8).repeat(4, 0)
        image = tf.io.encode_png(pixels.repeat(4, 1)).numpy()
        (folder / f"{number}.png").write_bytes(image)
    (folder / "broken.png").write_bytes(image[:60])
    (folder / "vocab.txt").write_text("\n".join(PIECES.split()) + "\n")
    with open(folder / "pairs.csv", "w", encoding="utf-8", newline="") as file:
        header = ("id", "image", "text", "label", "split", "labels")
        rows = [(*row, LABEL_SETS.get(row[0], row[3])) for row in ROWS]
        csv.writer(file).writerows([header, *rows])


def _write_run(
    folder: pathlib.Path, modalities: str, multi_label: bool = False
) -> pathlib.Path:
    from tf_multimodal import config as config_lib
    from tf_multimodal.data.labels import write_labels
    from tf_multimodal.data.sources import load_source
    from tf_multimodal.data.splits_file import write_splits

    config = config_lib.get_default_config()
    config.cache_dir = str(folder / "cache")
    config.data.manifest = str(folder / "pairs.csv")
    config.data.columns.id = "id"
    config.data.columns.split = "split"
    config.data.columns.labels = "labels" if multi_label else ""
    config.model.modalities = modalities
    config.model.image.size_px = 16
    config.model.image.resnet.stackwise_num_filters = (64,)
    config.model.image.resnet.stackwise_num_blocks = (1,)
    config.model.image.resnet.stackwise_num_strides = (1,)
    config.model.text.encoder = "lstm"
    config.model.text.vocabulary = str(folder / "vocab.txt")
    config.model.text.max_tokens = 8
    config.model.text.embedding_dim = 8
    config.model.text.lstm_units = 8

    run_dir = folder / "run"
    run_dir.mkdir()
    (run_dir / "experiment.json").write_text(config_lib.to_json(config))
    write_labels(run_dir / "labels.txt", CLASSES)
    write_splits(run_dir / "splits.csv", load_source(config))
    history = [
        {"step": 2, "epoch": 1, "loss": 1.1, "accuracy": 0.3},
        {"step": 4, "epoch": 2, "loss": 0.9, "accuracy": 0.5, "val_accuracy": 0.4}
        | {"val_loss": 1.0, "val_macro_f1": 0.3},
    ]
    lines = "".join(json.dumps(line) + "\n" for line in history)
    (run_dir / "metrics.jsonl").write_text(lines)
    _save_model(config, run_dir / "best", multi_label)
    return run_dir


def _save_model(config, folder: pathlib.Path, multi_label: bool) -> None:
    from tf_multimodal.training.model_builder import (
        build_classifier,
        build_preprocessor,
    )

    preprocessor = build_preprocessor(config, [])
    model = build_classifier(config, preprocessor, len(CLASSES), "float32", multi_label)
    generator = np.random.RandomState(1)
    for variable in model.trainable_variables:  # rows differ by more than rounding
        variable.assign(generator.normal(0, 0.3, variable.shape))
    model.save_to_preset(str(folder))
