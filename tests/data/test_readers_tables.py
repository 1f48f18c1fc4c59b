"""JSON lines and Parquet as rows."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tf_multimodal.data.raw_rows import BLOCK_ROWS
from tf_multimodal.data.readers import cells
from tf_multimodal.data.readers.jsonl_table import JsonlTable
from tf_multimodal.data.readers.parquet_table import ParquetTable


def read_all(reader, columns):
    """Returns numbers, values by column and problems, of all blocks together."""
    blocks = list(reader.read_rows(columns))
    values = {c: [v for block in blocks for v in block.values[c]] for c in columns}
    rows = [row for block in blocks for row in block.rows]
    assert all(len(column) == len(rows) for column in values.values())
    return rows, values, [p for block in blocks for p in block.problems]


@pytest.fixture
def make_jsonl(tmp_path):
    def make(*lines: bytes) -> JsonlTable:
        path = tmp_path / "pairs.jsonl"
        path.write_bytes(b"\n".join(lines))
        return JsonlTable([str(path)], str(tmp_path), "pairs.jsonl")

    return make


def test_json_lines_become_cells(make_jsonl):
    table = make_jsonl(
        b"\xef\xbb\xbf"
        + '{"image": "a.png", "text": "caf\u00e9", "label": 3}'.encode(),
        b"",
        b'{"text": null, "labels": ["x", 1], "meta": {"lang": "de"}, "image": ""}',
    )
    assert table.list_columns() == [
        "image",
        "text",
        "label",
        "labels",
        "meta",
        "meta.lang",
    ]
    rows, values, problems = read_all(table, table.list_columns())
    assert rows == [1, 3]
    assert values == {
        "image": ["a.png", ""],
        "text": ["caf\u00e9", None],
        "label": ["3", None],
        "labels": [None, ["x", "1"]],
        "meta": [None, '{"lang": "de"}'],
        "meta.lang": [None, "de"],
    }
    assert not problems


@pytest.mark.parametrize(
    "line, reason",
    [
        (b'{"text": "cut', "not JSON"),
        (b"[1, 2]", "expected a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 10_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
    ],
)
def test_a_line_that_is_no_object_is_named(make_jsonl, line, reason):
    table = make_jsonl(b'{"text": "a"}', line, b'{"text": "b"}')
    rows, values, problems = read_all(table, ["text"])
    assert (rows, values) == ([1, 3], {"text": ["a", "b"]})
    assert [problem.row for problem in problems] == [2]
    assert reason in problems[0].reason


def test_a_text_that_is_not_utf8_stays_bytes(make_jsonl):
    table = make_jsonl(b'{"text": "caf\xe9"}', rb'{"text": "\ud800"}')
    assert read_all(table, ["text"])[1] == {"text": [b"caf\xe9", b"\xed\xa0\x80"]}


def test_blocks_are_bounded_in_rows_and_bytes(make_jsonl, monkeypatch):
    lines = [json.dumps({"text": str(i)}).encode() for i in range(BLOCK_ROWS + 1)]
    blocks = list(make_jsonl(*lines).read_rows(["text"]))
    assert [len(block.rows) for block in blocks] == [BLOCK_ROWS, 1]
    monkeypatch.setattr(cells, "BLOCK_BYTES", 4)
    blocks = list(make_jsonl(*lines[:5]).read_rows(["text"]))
    assert [len(block.rows) for block in blocks] == [4, 1]


def test_several_files_are_read_in_order_and_named(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(json.dumps({"text": name}))
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    blocks = list(JsonlTable(paths, str(tmp_path), "*").read_rows(["text"]))
    assert [(b.file, b.rows, b.values["text"]) for b in blocks] == [
        (paths[0], [1], ["a"]),
        (paths[1], [1], ["b"]),
    ]


def write_parquet(path, table: pa.Table, **settings) -> ParquetTable:
    pq.write_table(table, path, **settings)
    return ParquetTable([str(path)], str(path.parent), path.name)


def test_parquet_becomes_cells(tmp_path):
    picture = pa.array([{"bytes": b"\xff1", "path": "a"}, {"bytes": None, "path": "b"}])
    columns = {
        "image": pa.array([b"\x89PNG", None]),
        "picture": picture,
        "text": pa.array(["caf\u00e9", None]),
        "label": pa.array([3, None]),
        "weight": pa.array([0.5, float("nan")]),
        "labels": pa.array([["x", "y"], []]),
        "kind": pa.array(["k", "k"]).dictionary_encode(),
    }
    table = write_parquet(tmp_path / "a.parquet", pa.table(columns))
    assert table.list_columns() == list(columns)
    rows, values, _ = read_all(table, table.list_columns())
    assert rows == [0, 1]
    assert values == {
        "image": [b"\x89PNG", None],
        "picture": [b"\xff1", "b"],
        "text": ["caf\u00e9", None],
        "label": ["3", None],
        "weight": ["0.5", None],
        "labels": [["x", "y"], []],
        "kind": ["k", "k"],
    }


def test_only_the_columns_that_are_asked_for_are_read_in_their_order(tmp_path):
    table = pa.table({"a": ["1"], "b": ["2"], "c": ["3"]})
    reader = write_parquet(tmp_path / "a.parquet", table)
    (block,) = reader.read_rows(["c", "a"])
    assert block.values == {"c": ["3"], "a": ["1"]}


def test_a_parquet_text_that_is_not_utf8_stays_bytes(tmp_path):
    offsets, data = pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")
    text = pa.StringArray.from_buffers(2, offsets, data)
    reader = write_parquet(tmp_path / "a.parquet", pa.table({"text": text}))
    assert read_all(reader, ["text"])[1] == {"text": ["a", b"\xff"]}


def test_large_cells_make_small_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "BLOCK_BYTES", 10_000)
    images = [bytes([i]) * 4000 for i in range(10)]
    table = pa.table({"image": images, "text": ["a"] * 10})
    reader = write_parquet(tmp_path / "a.parquet", table, use_dictionary=False)
    sizes = [len(block.rows) for block in reader.read_rows(["image"])]
    assert max(sizes) <= 2 and sum(sizes) == 10
    assert [len(block.rows) for block in reader.read_rows(["text"])] == [10]


def test_parquet_is_read_through_a_url(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"]}), tmp_path / "a.parquet")
    tf.io.gfile.makedirs("ram://tables")
    tf.io.gfile.copy(str(tmp_path / "a.parquet"), "ram://tables/a.parquet", True)
    reader = ParquetTable(["ram://tables/a.parquet"], "ram://tables", "a.parquet")
    assert read_all(reader, ["text"])[1] == {"text": ["a", "b"]}


def test_what_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"text,label\n")
    with pytest.raises(ValueError, match="a.parquet is not a Parquet file"):
        ParquetTable([str(path)], str(tmp_path), "a.parquet").list_columns()


def test_a_damaged_page_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    reader = write_parquet(
        path, pa.table({"text": [str(i) * 50 for i in range(999)]}), compression="gzip"
    )
    data = bytearray(path.read_bytes())
    data[40:2000] = bytes(1960)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="a.parquet is damaged"):
        list(reader.read_rows(["text"]))


def test_a_later_file_that_lacks_a_column_is_named(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    pq.write_table(pa.table({"text": ["a"]}), paths[0])
    pq.write_table(pa.table({"body": ["a"]}), paths[1])
    with pytest.raises(ValueError, match=r"b\.parquet must have one.*'text'.*'body'"):
        list(ParquetTable(paths, str(tmp_path), "*.parquet").read_rows(["text"]))
