"""From a run directory to a checked version, by function and by command."""

import json
import pathlib
import subprocess
import sys

import pytest

from tf_multimodal.serving import release as release_lib
from tf_multimodal.serving.verification import Verification, VerificationError

ROOT = pathlib.Path(__file__).parents[2]
VERIFICATION = Verification(
    rows=12, real_rows=6, max_difference=2.5e-7, labels_agree=12
)


def run_export(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "export", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_release_asks_about_the_runs_own_test_split(run_copy, tmp_path, monkeypatch):
    asked = []

    def verify(folder, predictor, pairs):
        asked.extend(pairs)
        return VERIFICATION

    # The run was trained on a row that the manifest of today has in its test split.
    splits = run_copy / "splits.csv"
    splits.write_text(splits.read_text().replace("a1,test", "a1,train"))
    monkeypatch.setattr(release_lib, "verify_saved_model", verify)
    release = release_lib.release_run(run_copy, tmp_path / "out")
    assert release.folder == tmp_path / "out/1"
    ids = [pair.name.split("id ")[1].split(",")[0] for pair in asked]
    assert ids == ["a2", "a3", "a4", "a5", "a7"]  # a6 has neither image nor text
    record = json.loads((release.folder / "assets.extra/verify.json").read_text())
    assert record["rows"] == 12 and record["max_difference"] == 2.5e-7
    assert set(record["versions"]) == set(release_lib.RECORD_PACKAGES)


def test_a_model_that_differs_is_not_released(small_run, tmp_path, monkeypatch):
    def verify(folder, predictor, pairs):
        raise VerificationError("differs")

    monkeypatch.setattr(release_lib, "verify_saved_model", verify)
    with pytest.raises(VerificationError, match="differs"):
        release_lib.release_run(small_run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_description_says_what_was_compared_and_what_to_type():
    folder = pathlib.Path("/models/runs/my shop/export/3")
    release = release_lib.Release(folder, ("a", "b", "c"), "validation", VERIFICATION)
    text = release_lib.describe_release(release)
    assert (
        "12: 6 pairs of the validation split" in text
        and "2.5e-07" in text
        and "12 of 12" in text
    )
    assert "labels string [b, 3]" in text
    assert "-v '/models/runs/my shop/export:/models/my_shop:ro'" in text
    assert "http://localhost:8501/v1/models/my_shop:predict" in text


@pytest.mark.slow
def test_command_exports_and_checks(small_run, tmp_path):
    done = run_export(f"--run={small_run}", f"--output={tmp_path / 'model'}")
    assert done.returncode == 0, done.stderr
    assert "12 of 12" in done.stdout and "docker run" in done.stdout
    record = json.loads((tmp_path / "model/1/assets.extra/verify.json").read_text())
    assert record["real_rows"] == 6 and record["max_difference"] <= 1e-5


@pytest.mark.slow
def test_command_fails_without_a_run(tmp_path):
    done = run_export(f"--run={tmp_path}", f"--output={tmp_path / 'model'}")
    assert done.returncode == 1
    assert "experiment.json" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_help_imports_nothing_heavy():
    code = "import sys, export.__main__; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
