"""Runs on the rows that they share, by function and by command."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from tf_multimodal.data.labels import write_labels
from tf_multimodal.evaluation import compare, comparison_markdown
from tf_multimodal.evaluation.common_rows import find_common_rows
from tf_multimodal.inference.calibration_file import (
    Calibration,
    hash_weights,
    write_calibration,
)
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import RunError, load_run_source, read_run


@pytest.fixture(scope="module")
def source(small_run):
    return load_run_source(read_run(small_run))


@pytest.fixture
def runs(small_run, image_run, tmp_path):
    """Copies of a run that reads both and of one that reads images."""
    return [
        shutil.copytree(run, tmp_path / name)
        for name, run in (("both", small_run), ("image", image_run))
    ]


def move(run_dir, **splits):
    """Moves rows of a run, by id, into other splits."""
    path = run_dir / "splits.csv"
    with open(path, encoding="utf-8", newline="") as file:
        rows = [
            [i, splits.get(i, split), *rest] for i, split, *rest in csv.reader(file)
        ]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def change_splits(source, **splits):
    column = [splits.get(i, s) for i, s in zip(source.ids, source.splits, strict=True)]
    return dataclasses.replace(source, splits=np.array(column, object))


def name_rows(source, indices):
    return source.ids[indices].tolist()


def test_rows_of_other_splits_are_left_out_and_counted(source):
    other = change_splits(source, a1="train", a2="train", a4="validation", b1="test")
    found = find_common_rows(["one", "two"], [source, other], "test")
    for rows in found.indices:
        assert name_rows(source, rows) == ["a3", "a5", "a6", "a7"]
    assert found.left_out == [
        {"in the split train of two": 2, "in the split validation of two": 1},
        {"in the split train of one": 1},
    ]


def test_rows_go_by_their_ids(source):
    order = np.arange(len(source))[::-1]
    columns = ("images", "texts", "labels", "weights", "ids", "groups", "splits")
    turned = dataclasses.replace(
        source,
        **{c: getattr(source, c)[order] for c in (*columns, "files", "rows")},
    )
    first, second = find_common_rows(["a", "b"], [source, turned], "test").indices
    assert name_rows(source, first) == name_rows(turned, second)
    assert first.tolist() == (len(source) - 1 - second).tolist()


def test_rows_that_a_run_does_not_have(source):
    ids = np.array(list(source.ids), object)
    ids[0] = "z9"
    other = dataclasses.replace(change_splits(source, a2=""), ids=ids)
    other.splits[1] = ""  # a row that the run did not know
    found = find_common_rows(["one", "two"], [source, other], "test")
    assert found.left_out == [
        {"not in the data of two": 1, "new to two": 1},
        {"not in the data of one": 1},
    ]


def test_no_common_row_is_an_error(source):
    other = change_splits(source, **{f"a{i}": "train" for i in range(1, 8)})
    other = change_splits(other, b1="test")
    with pytest.raises(
        ValueError, match=r"one has 7, of which 7 in the split train of"
    ):
        find_common_rows(["one", "two"], [source, other], "test")


def test_another_label_is_an_error(source):
    labels = source.labels.copy()
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 3
    other = dataclasses.replace(source, labels=labels)
    with pytest.raises(ValueError, match=r"2 of 7 rows .* another label .* a2, a5"):
        find_common_rows(["one", "two"], [source, other], "test")


def test_another_image_with_another_text_is_another_row(source):
    texts, files = (
        np.array(list(column), object) for column in (source.texts, source.files)
    )
    texts[0], files[1] = "other", "other.png"
    other = dataclasses.replace(source, texts=texts, files=files)
    find_common_rows(["one", "two"], [source, other], "test")
    files[0] = "other.png"
    with pytest.raises(ValueError, match=r"1 of 7 rows .* another image file and .*a1"):
        find_common_rows(["one", "two"], [source, other], "test")


def test_two_runs(runs):
    move(runs[1], a2="train")
    write_calibration(
        runs[0],
        Calibration(2.0, "validation", 1, hash_weights(runs[0] / "best"), *[0.0] * 4),
    )
    result = compare.compare_runs(runs, batch_size=4)
    both, image = result["models"]
    assert (both["name"], image["name"]) == ("both", "image")
    assert (both["modalities"], image["modalities"]) == ("image_text", "image")
    assert (both["temperature"], image["temperature"]) == (2.0, 1.0)
    assert (both["split_rows"], image["split_rows"]) == (7, 6)
    assert both["left_out"] == {"in the split train of image": 1}
    assert image["left_out"] == {} and result["rows"] == 6
    source = load_run_source(read_run(runs[0]))
    rows = np.array([0, 2, 3, 4, 5, 6])
    for run, model in zip(runs, result["models"], strict=True):
        found = Predictor.from_run(run).predict_source(source, rows)
        right = found.labels == source.labels[rows]
        assert model["metrics"]["accuracy"] == pytest.approx(right.mean())
        p = found.probabilities[np.arange(6), source.labels[rows]]
        assert model["metrics"]["loss"] == pytest.approx(-np.log(p).mean(), abs=1e-5)
    (pair,) = result["pairs"]
    assert (pair["of"], pair["over"]) == ("image", "both")
    text = comparison_markdown.make_report(result)
    assert "6 rows in" in text and "3 classes" in text
    assert "both: 7 rows in the split; left out 1 in the split train of image" in text
    assert "| both | image and text |" in text and "| 2.000 |" in text
    assert "as training left them: image." in text
    assert "| image | both |" in text and "McNemar" in text


def test_label_sets(multi_label_run, tmp_path):
    runs = [shutil.copytree(multi_label_run, tmp_path / name) for name in "ab"]
    result = compare.compare_runs(runs)
    assert result["multi_label"] is True and result["rows"] == 7
    assert "micro_f1" in result["models"][0]["metrics"]
    assert result["pairs"][0]["mcnemar"] == {"p_value": 1.0, "only_a": 0, "only_b": 0}
    assert "mAP %" in comparison_markdown.make_tables(result)


def test_runs_that_cannot_be_compared(runs, multi_label_run, tmp_path):
    with pytest.raises(ValueError, match="at least two runs"):
        compare.compare_runs(runs[:1])
    with pytest.raises(ValueError, match="given twice: .*both"):
        compare.compare_runs([runs[0], runs[1], runs[0].parent / "image/../both"])
    with pytest.raises(RunError, match="no run directory"):
        compare.compare_runs([runs[0], tmp_path / "nowhere"])
    several = shutil.copytree(multi_label_run, tmp_path / "several")
    with pytest.raises(ValueError, match="A row of several may have several labels"):
        compare.compare_runs([runs[0], several])
    write_labels(runs[1] / "labels.txt", ("bird", "dog", "signs_and_symbols"))
    with pytest.raises(ValueError, match="of image are not those of both.* cat, dog"):
        compare.compare_runs(runs)


def test_runs_of_one_name_go_by_their_paths(small_run, image_run):
    names = compare._name_runs([read_run(small_run), read_run(image_run)])
    assert names == [str(small_run.resolve()), str(image_run.resolve())]


@pytest.mark.slow
def test_command_prints_and_writes_the_tables(runs, run_command, tmp_path):
    module = ("-m", "tf_multimodal.evaluation.compare")
    done = run_command(*module, *runs, "--split=test")
    folder = runs[0] / "evaluation"
    report = (folder / "comparison.md").read_text("utf-8")
    result = json.loads((folder / "comparison.json").read_text("utf-8"))
    tables = comparison_markdown.make_tables(result)
    assert tables in done.stdout and tables in report
    assert f"Comparison: {folder / 'comparison.md'}" in done.stdout
    failed = run_command(*module, runs[0], tmp_path, expect=1)
    assert failed.stderr.splitlines()[-1].startswith(f"Error: {tmp_path} is not a run")
    assert "at least two runs" in run_command(*module, runs[0], expect=1).stderr
