"""TensorBoard's points and pictures: written at once, cut where a run goes on."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from tf_multimodal.training.event_log import EventLog, cut_events

VALUES = {"loss": 2.0, "val_loss": 3.0, "learning_rate": 0.5}


def read_values(folder, plugin):
    """(part, tag, step, array) of all values that are of a plugin of TensorBoard's."""
    for path in sorted(folder.rglob("events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == plugin:
                    array = tf.make_ndarray(value.tensor)
                    yield path.parent.name, value.tag, event.step, array


def read_points(folder):
    """(part, tag, step, value) of all event files, sorted."""
    values = read_values(folder, "scalars")
    return sorted((part, tag, step, float(array)) for part, tag, step, array in values)


def read_pictures(folder):
    """Pixels of all event files by (part, tag, step)."""
    return {
        (part, tag, step): tf.io.decode_png(array[2]).numpy()
        for part, tag, step, array in read_values(folder, "images")
    }


def make_points(epochs):
    return sorted(
        point
        for epoch in epochs
        for point in [
            ("train", "epoch_learning_rate", epoch, 0.5),
            ("train", "epoch_loss", epoch, 2.0),
            ("validation", "epoch_loss", epoch, 3.0),
        ]
    )


@pytest.fixture
def log(tmp_path):
    events = EventLog(tmp_path)
    for epoch in range(4):
        events.write(epoch, VALUES)
    return events


def test_points_are_on_the_disk_before_the_files_are_closed(log, tmp_path):
    assert read_points(tmp_path) == make_points(range(4))


def test_points_from_an_epoch_on_are_cut(log, tmp_path):
    log.close()
    cut_events(tmp_path, 2)
    assert read_points(tmp_path) == make_points([0, 1])
    log.write(2, VALUES)
    assert read_points(tmp_path) == make_points([0, 1, 2])
    assert len(list(tmp_path.glob("train/events*"))) == 2


def test_files_without_points_to_cut_stay_as_they_are(log, tmp_path):
    log.close()
    before = {p: p.stat().st_ino for p in tmp_path.rglob("events*")}
    cut_events(tmp_path, 4)
    assert before == {p: p.stat().st_ino for p in tmp_path.rglob("events*")}


@pytest.mark.parametrize("torn_bytes", [1, 10, 30])
def test_a_record_that_a_kill_left_torn_is_cut(log, tmp_path, torn_bytes):
    log.close()
    (path,) = tmp_path.glob("train/events*")
    path.write_bytes(path.read_bytes()[:-torn_bytes])
    cut_events(tmp_path, 4)
    kept = [
        p for p in make_points(range(4)) if p[:3] != ("train", "epoch_learning_rate", 3)
    ]
    assert read_points(tmp_path) == kept


def test_pictures_are_cut_with_the_points(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (6, 9, 3), np.uint8)
    events = EventLog(tmp_path)
    for epoch in range(3):
        events.write(epoch, VALUES, {"examples": pixels + np.uint8(epoch)})
    events.close()
    cut_events(tmp_path, 2)
    found = read_pictures(tmp_path)
    assert list(found) == [("validation", "examples", epoch) for epoch in (0, 1)]
    for epoch, picture in enumerate(found.values()):
        assert np.array_equal(picture, pixels + np.uint8(epoch))
    assert read_points(tmp_path) == make_points([0, 1])


def test_a_run_draws_each_evaluation(trained):
    folder, output = trained
    found = read_pictures(folder / "tensorboard")
    names = ("examples", "confusion_matrix")
    assert found.keys() == {
        ("validation", n, epoch) for n in names for epoch in (0, 1, 2)
    }
    assert all(picture.std() > 10 for picture in found.values())  # not blank
    for name in names:  # another epoch, another model, another picture
        first, last = (found["validation", name, epoch] for epoch in (0, 2))
        assert not np.array_equal(first, last)
    assert "no confusion matrix" not in output


def test_the_events_of_a_run_are_its_metrics(trained):
    folder, _ = trained
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    expected = sorted(
        (
            "validation" if name.startswith("val_") else "train",
            f"epoch_{name.removeprefix('val_')}",
            line["epoch"] - 1,
            pytest.approx(value, rel=1e-6),
        )
        for line in map(json.loads, lines)
        for name, value in line.items()
        if name not in ("step", "epoch")
    )
    assert read_points(folder / "tensorboard") == expected
