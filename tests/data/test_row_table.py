"""Rows on disk."""

import threading

import numpy as np
import pytest

from tf_multimodal.data import columns, row_table
from tf_multimodal.data.row_table import BATCH_ROWS, RowTable, RowTableWriter

COUNT = 2 * BATCH_ROWS + 5


@pytest.fixture
def table(tmp_path):
    """Rows in blocks that are no multiples of the batches."""
    writer = RowTableWriter(tmp_path, {"text": False, "captions": True})
    for start in range(0, COUNT, 100):
        rows = range(start, min(start + 100, COUNT))
        texts = [b"\xff" if row == 7 else f"título {row}" for row in rows]
        lists = [[f"{row}", "\ud800"] if row == 9 else [f"{row}"] * 2 for row in rows]
        writer.append({"text": texts, "captions": lists})
    offsets = [writer.append_image(data) for data in (b"first", b"", b"second")]
    writer.close()
    writer.write_numbers({"offsets": np.array(offsets)}, {"classes": ["é"]})
    return RowTable(tmp_path)


def test_what_is_written_is_read_at_random_and_in_order(table):
    texts = columns.read_texts(table, "text", COUNT)
    expected = [b"\xff" if row == 7 else f"título {row}" for row in range(COUNT)]
    assert list(texts) == expected
    rows = np.array([COUNT - 1, 7, 0, BATCH_ROWS])
    assert list(texts[rows]) == [expected[row] for row in rows]
    assert texts[-1] == expected[-1] and len(texts) == COUNT
    with pytest.raises(IndexError):
        texts[COUNT]
    lists = columns.read_lists(table, "captions", COUNT)
    assert lists[3] == ("3", "3") and lists[9] == ("9", b"\xed\xa0\x80")
    assert table.facts == {"classes": ["é"]}
    assert table.numbers["offsets"].tolist() == [0, 5, 5]


def test_few_batches_are_held(table, monkeypatch):
    monkeypatch.setattr(row_table, "CACHED_BATCHES", 2)
    texts = columns.read_texts(table, "text", COUNT)
    for row in (0, BATCH_ROWS, 2 * BATCH_ROWS, 0):
        assert texts[row] == f"título {row}"
    assert list(table._cached) == [2, 0]  # the last ones that were asked for


def test_threads_read_at_once(table):
    texts = columns.read_texts(table, "text", COUNT)
    failures = []

    def read(seed):
        for row in np.random.default_rng(seed).integers(8, COUNT, 300).tolist():
            if texts[row] != f"título {row}":
                failures.append(row)

    threads = [threading.Thread(target=read, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_images_are_read_from_where_they_lie(tmp_path):
    inside = tmp_path / "shard.tar"
    inside.write_bytes(b"..image..")
    (tmp_path / "a.png").write_bytes(b"a")
    folder = tmp_path / "table"
    folder.mkdir()
    writer = RowTableWriter(folder, {"file": False})
    names = ["", "a.png", "", "shard/2", "shard/3", "../b.png", "gone"]
    writer.append({"file": names})
    kinds = [columns.NO_IMAGE, columns.IS_PATH, columns.IS_KEPT, 0, 0, columns.IS_PATH]
    kept = writer.append_image(b"kept")
    writer.close()
    numbers = {
        "image_files": np.array([*kinds, 1]),
        "image_offsets": np.array([0, 0, kept, 2, 2, 0, 0]),
        "image_lengths": np.array([0, 0, 4, 5, 50, 0, 3]),
    }
    files = [str(inside), str(tmp_path / "gone.tar")]
    writer.write_numbers(numbers, {"image_files": files})
    images = columns.read_images(RowTable(folder), str(tmp_path), len(names))
    path = str(tmp_path.resolve() / "a.png")
    assert list(images)[:4] == [b"", path, b"kept", b"image"]
    for row, reason in ((4, "the file ends before"), (5, "leads out of"), (6, "gone")):
        assert isinstance(images[row], str) and not (tmp_path / images[row]).exists()
        assert reason in images[row].reason
    assert "bytes 2 to 52" in images[4].reason


def test_columns_are_joined_and_mapped():
    joined = columns.join_columns([np.array(["a", "b"], object), [], ["c"]])
    assert list(joined) == ["a", "b", "c"] and [joined[i] for i in (0, 1, 2)] == [
        *"abc"
    ]
    upper = columns.map_column(str.upper, joined)
    assert list(upper[np.array([2, 0])]) == ["C", "A"] and list(upper) == [
        "A",
        "B",
        "C",
    ]
