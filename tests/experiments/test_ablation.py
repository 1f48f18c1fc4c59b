"""The ablation as a user types it: main, the processes and what they hand over."""

import json

import pytest

from tf_multimodal.experiments.variants import VARIANTS

ABLATION = (
    "-m",
    "tf_multimodal.experiments.ablation",
    "--config=configs/tiny.py",
    "--folds=2",
    "--workers=2",
    "--config.train.epochs=1",
)
pytestmark = pytest.mark.slow


def test_all_variants_in_processes(run_command, tmp_path):
    workdir = tmp_path / "ablation"
    output = run_command(
        *ABLATION, f"--workdir={workdir}", f"--config.cache_dir={tmp_path / 'cache'}"
    ).stdout
    assert "12 of 12 trainings to do" in output and "[12/12]" in output
    result = json.loads((workdir / "table.json").read_text())
    assert result["examples"] == 480 and result["folds"] == 2
    assert [row["name"] for row in result["variants"]] == [v.name for v in VARIANTS]
    assert all(row["cpu_seconds"] > 0 for row in result["variants"])
    for over in ("image", "text"):
        gain = result[f"gain_over_{over}"]
        assert gain["over"] == over
        assert gain["low"] <= gain["points"] <= gain["high"]
    text = (workdir / "table.md").read_text()
    assert text in output and "480 pairs" in text
    assert all(variant.description in text for variant in VARIANTS)


def test_a_failure_in_a_process_is_a_message(run_command, tmp_path):
    workdir = tmp_path / "ablation"
    result = run_command(
        *ABLATION,
        f"--workdir={workdir}",
        f"--config.cache_dir={tmp_path / 'cache'}",
        "--config.model.text.vocabulary=",
        expect=1,
    )
    assert "TrainingFailed: Variant 'text', fold 0: ValueError" in result.stderr
    assert str(workdir / "runs" / "text_0.log") in result.stderr
    assert "Traceback" not in result.stderr
