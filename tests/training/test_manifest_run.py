"""A run over a user's own file, bad rows included."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf

from configs import tiny
from tf_multimodal.config import get_default_config
from tf_multimodal.data.dropped import TooManyBadRows
from tf_multimodal.training import run


@pytest.fixture
def config(tmp_path):
    """A manifest of 40 pairs; two images of the first rows are broken or missing."""
    rng = np.random.RandomState(0)
    rows = []
    for i in range(40):
        pixels = rng.randint(0, 256, (20, 20, 3)).astype("uint8")
        (tmp_path / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        split = "train" if i < 30 else "validation"
        rows.append((f"{i}.png", f"pair {i}", "ab"[i % 2], split))
    (tmp_path / "0.png").write_bytes(b"no image")
    (tmp_path / "1.png").unlink()
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([("file", "caption", "class", "part"), *rows])
    config = tiny.get_config()
    config.data.update(get_default_config().data)  # not of a TFDS data set
    config.data.manifest = str(tmp_path / "pairs.csv")
    config.data.columns.image = "file"
    config.data.columns.text = "caption"
    config.data.columns.label = "class"
    config.data.columns.split = "part"
    config.train.batch_size = 10
    config.train.epochs = 2
    config.train.eval_intervals = 0
    config.data.max_drop_rate = 0.1
    return config


def test_bad_rows_are_named_and_left_out(config, tmp_path, capsys):
    folder = run.run(config, tmp_path / "run")
    lines = (folder / "dropped.jsonl").read_text().splitlines()
    found = {line["file"]: line for line in map(json.loads, lines)}
    assert len(lines) == 2 and set(found) == {"0.png", "1.png"}
    assert found["0.png"]["row"] == 2 and "does not decode" in found["0.png"]["reason"]
    assert found["1.png"]["row"] == 3 and "not exist" in found["1.png"]["reason"]
    output = capsys.readouterr().out
    assert "2 training rows are bad, 2 of them were left out" in output
    for status in ("undecodable", "unreadable"):
        assert output.count(f"First {status}_image: pairs.csv, row ") == 1
    assert "In all 2 of 30 training rows are bad" in output
    assert (folder / "finished.json").exists()


def test_too_many_bad_rows_end_the_run_with_the_reasons(config, tmp_path):
    config.data.max_drop_rate = 0.05
    with pytest.raises(TooManyBadRows, match=r"pairs\.csv, row [23] .*\n.*row [23]"):
        run.run(config, tmp_path / "run")
