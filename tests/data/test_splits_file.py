"""The file that pins which rows a run trains and tests on."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.data.source import Source
from tf_multimodal.data.splits_file import (
    SplitsError,
    pin_splits,
    read_splits,
    write_splits,
)

CLASSES = ("bird", "cat")


def make_source(ids, splits) -> Source:
    count = len(ids)
    names = np.array(ids, object)
    return Source(
        name="pairs.csv",
        classes=CLASSES,
        images=np.array([""] * count, object),
        images_are_paths=True,
        texts=names,
        labels=np.arange(count, dtype=np.int32) % 2,
        weights=np.ones(count, np.float32),
        ids=names,
        groups=names,
        splits=np.array(splits, object),
        files=names,
        rows=np.arange(count),
    )


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "splits.csv"
    write_splits(path, make_source(["a", "b, c", "é"], ["train", "test", "test"]))
    return path


def test_what_is_written_is_read(path):
    assert read_splits(path) == {"a": "train", "b, c": "test", "é": "test"}
    assert path.read_text(encoding="utf-8").splitlines()[2] == '"b, c",test,cat,"b, c"'


def test_rows_keep_the_split_they_began_with(path, capsys):
    now = make_source(["new", "é", "b, c", "a"], ["test"] * 4)
    pinned = pin_splits(now, CLASSES, path)
    assert list(pinned.splits) == ["", "test", "test", "train"]
    assert "1 rows of pairs.csv" in capsys.readouterr().err


def test_missing_rows_are_refused(path):
    with pytest.raises(SplitsError, match="2 of the 3 rows.*a, é"):
        pin_splits(make_source(["b, c"], ["test"]), CLASSES, path)


def test_other_classes_are_refused(path):
    source = make_source(["a", "b, c", "é"], ["test"] * 3)
    source = dataclasses.replace(source, classes=("bird", "dog"))
    with pytest.raises(SplitsError, match="Received bird, dog"):
        pin_splits(source, CLASSES, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no .*splits.csv"),
        ("name,part\n", "columns id and split"),
        ("id,split\na,test\nb,tset\n", "line 3.*'tset'"),
    ],
)
def test_unusable_files_are_named(path, text, message):
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(SplitsError, match=message):
        read_splits(path)
