"""The whole report of small runs: files, sections, refusals."""

import json
import shlex
import shutil

import numpy as np
import pytest

from tf_multimodal.evaluation import calibration
from tf_multimodal.evaluation.report import explanations
from tf_multimodal.evaluation.report.build import report_run
from tf_multimodal.inference import calibration_file
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import RunError, load_run_source, read_run

SECTIONS = (
    "headline curves confusion classes thresholds calibration gallery suspects "
    "explanations slices robustness text_worth examples how"
).split()


@pytest.fixture(scope="module")
def report(small_run, image_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    run_dir = shutil.copytree(small_run, folder / "run")
    alone = {"image": image_run}
    return run_dir, report_run(run_dir, alone=alone, explained=4, batch_size=3)


def test_all_sections_are_in_one_file(report):
    run_dir, written = report
    folder = run_dir / "evaluation" / "report"
    assert written.path == folder / "test.html"
    stored = json.loads((folder / "test.json").read_text(encoding="utf-8"))
    assert sorted(stored) == sorted(SECTIONS)
    assert written.sentence
    assert written.sentence in stored["text_worth"]["sentence"]
    assert list((folder / "test").glob("*.png"))


def test_figures_are_those_of_predict(report):
    run_dir, written = report
    predictor = Predictor.from_run(run_dir)
    assert predictor.temperature == written.sections["how"]["temperature"] != 1
    source = load_run_source(read_run(run_dir))
    index = source.get_indices("test")
    found = predictor.predict_source(source, index)
    row = written.sections["headline"]["rows"][0]
    correct = found.labels == source.labels[index]
    assert row["metrics"]["accuracy"] == pytest.approx(correct.mean())
    for explained in written.sections["explanations"]["rows"]:
        position = explained["position"]
        assert explained["target"] == found.labels[position]
        assert explained["probability"] == pytest.approx(
            float(found.probabilities[position].max()), abs=1e-5
        )


def test_every_row_that_is_shown_is_an_example(report):
    _, written = report
    shown = {row["position"] for row in written.sections["explanations"]["rows"]}
    assert shown <= {int(key) for key in written.sections["examples"]}


def test_the_image_run_is_the_rival(report, image_run):
    _, written = report
    rows = {row["name"]: row for row in written.sections["headline"]["rows"]}
    alone = Predictor.from_run(image_run)
    source = load_run_source(read_run(image_run))
    index = source.get_indices("test")
    correct = alone.predict_source(source, index).labels == source.labels[index]
    name = "image (a run of its own)"
    assert rows[name]["metrics"]["accuracy"] == pytest.approx(np.mean(correct))


@pytest.mark.slow
def test_label_sets_and_one_modality(multi_label_run, image_run, tmp_path):
    for name, run_dir in (("sets", multi_label_run), ("image", image_run)):
        copy = shutil.copytree(run_dir, tmp_path / name)
        written = report_run(copy, explained=2, output=tmp_path / f"{name}_report")
        assert written.path == tmp_path / f"{name}_report" / "test.html"
        assert written.path.is_file()


def test_a_run_that_does_not_fit_is_refused(small_run, image_run, run_copy, tmp_path):
    with pytest.raises(RunError, match="Expected a run with config.model.modalities"):
        report_run(run_copy, alone={"text": image_run})
    with pytest.raises(ValueError, match="leave them out"):
        report_run(image_run, alone={"image": image_run}, output=tmp_path)
    other = shutil.copytree(image_run, tmp_path / "other")
    splits = other / "splits.csv"
    text = splits.read_text(encoding="utf-8")
    assert "a1,test" in text
    splits.write_text(text.replace("a1,test", "a1,train"), encoding="utf-8")
    with pytest.raises(RunError, match="another split"):
        report_run(run_copy, alone={"image": other})


def test_a_calibration_that_cannot_be_written_is_said(run_copy, monkeypatch, capsys):
    def refuse(run_dir, calibration):
        raise PermissionError("read-only")

    monkeypatch.setattr(calibration_file, "write_calibration", refuse)
    written = report_run(run_copy, explained=0)
    assert "calibration.json cannot be written: read-only" in capsys.readouterr().err
    assert written.sections["how"]["temperature"] != 1
    assert not (run_copy / "calibration.json").exists()


@pytest.mark.slow
def test_a_model_that_cannot_be_explained_has_a_report(run_copy, monkeypatch):
    def refuse(*arguments):
        raise ValueError("Explanations need Keras on TensorFlow.")

    monkeypatch.setattr(explanations, "explain_rows", refuse)
    written = report_run(run_copy)
    reason = written.sections["explanations"]["not_available"]
    assert reason == "Explanations need Keras on TensorFlow."
    assert reason in written.path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_without_validation_rows_the_stored_temperature_holds(run_copy, monkeypatch):
    report_run(run_copy, explained=0)
    stored = calibration_file.read_calibration(run_copy)
    monkeypatch.setattr(calibration, "calibrate_run", lambda *_, **__: None)
    written = report_run(run_copy, explained=0)
    assert written.sections["how"]["temperature"] == stored.temperature


def test_the_command_makes_the_page_again(report, image_run):
    command = shlex.split(report[1].sections["how"]["command"])
    assert f"--image_run={image_run}" in command
    assert {"--split=test", "--explain=4"} <= set(command)
