"""Cross-validation: folds of whole groups, and going on where it stopped."""

import dataclasses
import shutil

import numpy as np
import pytest

from configs import tiny
from tf_multimodal.data.sources import load_source
from tf_multimodal.experiments import cross_validation
from tf_multimodal.experiments.variants import VARIANTS
from tf_multimodal.training.run_directory import RunDirectory, RunDirectoryError

IMAGE = next(v for v in VARIANTS if v.name == "image")
TEXT = next(v for v in VARIANTS if v.name == "text_lstm")


@pytest.fixture
def config(tmp_path_factory):
    config = tiny.get_config()
    config.cache_dir = str(tmp_path_factory.mktemp("cache"))
    config.train.epochs = 1
    return config


def test_every_row_is_tested_once_and_groups_stay_whole(config):
    source = load_source(config)
    groups = source.groups[:]
    groups[:100] = groups[0]
    source = dataclasses.replace(source, groups=groups)
    tested = []
    for fold in range(3):
        part = cross_validation.select_fold(source, fold, 3)
        tested.append(part.get_indices("test"))
        split = set(part.splits[:100])
        assert len(split) == 1
        assert not len(part.get_indices("validation"))
    assert sorted(np.concatenate(tested)) == list(range(len(source)))


def run_here(function, arguments, workers):
    """Stands in for the processes."""
    for values in arguments:
        print(function(*values))


def test_goes_on_where_it_stopped(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cross_validation, "_run_jobs", run_here)
    workdir = tmp_path / "ablation"
    first = cross_validation.run_folds(config, [IMAGE, TEXT], workdir, 2, 1)
    assert "4 of 4 trainings" in capsys.readouterr().out
    ids = np.concatenate([part.ids for part in first["image"]])
    assert len(set(ids)) == len(ids) == 480
    for image, text in zip(first["image"], first["text_lstm"], strict=True):
        np.testing.assert_array_equal(image.ids, text.ids)
        assert image.probabilities.shape == (len(image.ids), 6)
        assert image.seconds > 0
    (workdir / "predictions_2_folds" / "text_lstm_1.npz").unlink()
    again = cross_validation.run_folds(config, [IMAGE, TEXT], workdir, 2, 1)
    assert "1 of 4 trainings" in capsys.readouterr().out
    np.testing.assert_array_equal(
        first["image"][0].probabilities, again["image"][0].probabilities
    )
    config.train.epochs = 2
    with pytest.raises(RunDirectoryError, match="epochs: 1 -> 2"):
        cross_validation.run_folds(config, [IMAGE], workdir, 2, 1)


def test_image_predictions_are_taken_over(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cross_validation, "_run_jobs", run_here)
    cross_validation.run_folds(config, [IMAGE], tmp_path / "a", 2, 1)
    capsys.readouterr()
    config.data.mask_label_words = True
    cross_validation.run_folds(
        config, [IMAGE], tmp_path / "b", 2, 1, reuse_image=tmp_path / "a"
    )
    assert "0 of 2 trainings" in capsys.readouterr().out
    with pytest.raises(ValueError, match="same number of folds"):
        cross_validation.run_folds(
            config, [IMAGE], tmp_path / "c", 3, 1, reuse_image=tmp_path / "a"
        )
    shutil.rmtree(tmp_path / "a")  # nothing of it is needed a second time
    cross_validation.run_folds(
        config, [IMAGE], tmp_path / "b", 2, 1, reuse_image=tmp_path / "a"
    )
    with pytest.raises(ValueError, match="expects the --workdir of an ablation"):
        cross_validation.run_folds(
            config, [IMAGE], tmp_path / "d", 2, 1, reuse_image=tmp_path / "a"
        )


def test_image_predictions_of_another_config_are_refused(config, tmp_path):
    old = tmp_path / "old"
    RunDirectory(old).claim(config)
    config.data.mask_label_words = True
    config.train.epochs = 2
    config.augment.flip = False
    with pytest.raises(ValueError) as caught:
        cross_validation.run_folds(
            config, [IMAGE], tmp_path / "new", 2, 1, reuse_image=old
        )
    message = str(caught.value)
    assert "train.epochs: 1 -> 2" in message
    assert "augment.flip: True -> False" in message
    assert "mask_label_words: " not in message


def test_weights_are_there_before_the_processes_start(config, tmp_path, monkeypatch):
    happened = []

    def run_jobs(*_):
        happened.append("jobs")
        raise InterruptedError

    monkeypatch.setattr(
        cross_validation, "resolve_preset", lambda *given: happened.append(given)
    )
    monkeypatch.setattr(cross_validation, "_run_jobs", run_jobs)
    config.model.text.preset = "wheel:name"
    with pytest.raises(InterruptedError):
        cross_validation.run_folds(config, [TEXT], tmp_path / "ablation", 2, 1)
    assert happened == [("wheel:name", config.cache_dir), "jobs"]


def test_a_failure_names_its_training_and_its_log(config, tmp_path, monkeypatch):
    monkeypatch.setattr(cross_validation, "_run_jobs", run_here)
    config.model.text.vocabulary = ""
    with pytest.raises(cross_validation.TrainingFailed) as caught:
        cross_validation.run_folds(config, [TEXT], tmp_path / "ablation", 2, 1)
    log = tmp_path / "ablation" / "runs" / "text_lstm_0.log"
    message = str(caught.value)
    assert "'text_lstm', fold 0: ValueError: The text branch has no" in message
    assert str(log) in message
    assert "Traceback" in log.read_text()
