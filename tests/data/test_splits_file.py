"""The file that pins which rows a run trains and tests on."""

import dataclasses

import numpy as np
import pytest

from tf_multimodal.data.source import Source
from tf_multimodal.data.splits_file import (
    COLUMNS,
    PinnedRow,
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
    rows = read_splits(path)
    splits = {identity: row.split for identity, row in rows.items()}
    assert splits == {"a": "train", "b, c": "test", "é": "test"}
    # The first digits of the SHA-256 of the text, 0x1F and the file.
    assert rows["b, c"] == PinnedRow("test", "cat", "e3f1d1af4810")
    line = path.read_text(encoding="utf-8").splitlines()[2]
    assert line == '"b, c",test,cat,"b, c",e3f1d1af4810'


def test_rows_keep_the_split_they_began_with(path, capsys):
    now = make_source(["é", "b, c", "a", "new"], ["test"] * 4)
    pinned = pin_splits(now, CLASSES, path)
    assert list(pinned.splits) == ["test", "test", "train", ""]
    assert "1 rows of pairs.csv" in capsys.readouterr().err


def test_missing_rows_are_refused(path):
    with pytest.raises(SplitsError, match="2 of the 3 rows.*a, é"):
        pin_splits(make_source(["b, c"], ["test"]), CLASSES, path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("labels", 1, "a \\(label 'bird', now 'cat'\\)"),
        ("texts", "a cat", "a \\(text or image file\\)"),
        ("files", "b.png", "a \\(text or image file\\)"),
    ],
)
def test_rows_that_are_others_now_are_refused(path, column, value, message):
    source = make_source(["a", "b, c", "é"], ["test"] * 3)
    values = getattr(source, column).copy()
    values[0] = value
    source = dataclasses.replace(source, **{column: values})
    with pytest.raises(SplitsError, match=f"1 of the 3 rows.*{message}.*columns.id"):
        pin_splits(source, CLASSES, path)


def test_a_line_inserted_among_equal_labels_is_noticed(tmp_path):
    """Ids are line numbers: the last row is new, and all others have moved."""

    def make(texts):
        ids = [str(number + 2) for number in range(len(texts))]
        source = make_source(ids, ["train"] * len(texts))
        labels = np.zeros(len(texts), np.int32)
        texts = np.array(texts, object)
        return dataclasses.replace(source, texts=texts, files=texts, labels=labels)

    write_splits(tmp_path / "splits.csv", make(["p", "q", "r"]))
    now = make(["p", "new", "q", "r"])
    with pytest.raises(SplitsError, match="2 of the 3 rows.*have changed.* 3 .* 4 "):
        pin_splits(now, CLASSES, tmp_path / "splits.csv")


def test_other_classes_are_refused(path):
    source = make_source(["a", "b, c", "é"], ["test"] * 3)
    source = dataclasses.replace(source, classes=("bird", "dog"))
    with pytest.raises(SplitsError, match="Received bird, dog"):
        pin_splits(source, CLASSES, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no .*splits.csv"),
        ("name,part\n", "columns id, split, label"),
        (f"{','.join(COLUMNS)}\na,test,x,a,0\nb,tset,x,b,0\n", "line 3.*'tset'"),
    ],
)
def test_unusable_files_are_named(path, text, message):
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(SplitsError, match=message):
        read_splits(path)
