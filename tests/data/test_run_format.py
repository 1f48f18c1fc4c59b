"""The format number of a run: which runs this version reads."""

import json

import pytest

from tf_multimodal.data.run_format import (
    RUN_FORMAT,
    RunFormatError,
    check_run_format,
)
from tf_multimodal.inference.run_reader import read_run


@pytest.mark.parametrize("versions", [{}, {"format": 1}, {"format": RUN_FORMAT}])
def test_known_formats_are_read(run_copy, versions):
    """Without a number it is the first: runs were written before there was one."""
    (run_copy / "versions.json").write_text(json.dumps(versions))
    assert read_run(run_copy).classes


def test_a_run_without_versions_is_read(run_copy):
    (run_copy / "versions.json").unlink(missing_ok=True)
    assert read_run(run_copy).classes


def test_a_newer_run_is_refused(run_copy):
    versions = {"format": RUN_FORMAT + 1, "tf_multimodal": "7.0.0"}
    (run_copy / "versions.json").write_text(json.dumps(versions))
    with pytest.raises(RunFormatError, match=r"7\.0\.0.*update the project") as error:
        read_run(run_copy)
    assert f"format {RUN_FORMAT + 1}" in str(error.value)
    assert "versions.json" in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "new"}', '{"format": null}'])
def test_damaged_versions_are_named(tmp_path, text):
    path = tmp_path / "versions.json"
    path.write_text(text)
    with pytest.raises(RunFormatError, match="cannot be read"):
        check_run_format(path)
