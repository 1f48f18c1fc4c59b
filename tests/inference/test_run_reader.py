"""What is read of a run directory, and what is said of one that is not."""

import pytest

from tf_multimodal.inference.run_reader import RunError, load_run_source, read_run


def test_reads_a_run(small_run):
    run = read_run(str(small_run))
    assert run.classes == ("bird", "cat", "signs_and_symbols")
    assert run.config.model.image.size_px == 16
    source = load_run_source(run)
    assert len(source) == 11 and list(source.get_indices("test")) == list(range(7))
    assert [line["epoch"] for line in run.read_history()] == [1, 2]


def test_history_may_be_missing(run_copy):
    (run_copy / "metrics.jsonl").unlink()
    assert read_run(run_copy).read_history() == []


def test_no_directory(tmp_path):
    with pytest.raises(RunError, match="no run directory .*nowhere"):
        read_run(tmp_path / "nowhere")


def test_not_a_run(tmp_path):
    with pytest.raises(RunError, match="no experiment.json"):
        read_run(tmp_path)


def test_no_model_yet(run_copy):
    (run_copy / "best" / "config.json").unlink()
    with pytest.raises(RunError, match="no model yet"):
        read_run(run_copy)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_damaged_config(run_copy, text):
    (run_copy / "experiment.json").write_text(text)
    with pytest.raises(RunError, match="experiment.json cannot be read"):
        read_run(run_copy)


def test_no_labels(run_copy):
    (run_copy / "labels.txt").unlink()
    with pytest.raises(RunError, match="no labels.txt"):
        read_run(run_copy)
