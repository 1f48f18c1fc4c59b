"""CSV files as blocks of rows."""

import csv

import pytest

from tf_multimodal.data.raw_rows import BLOCK_ROWS
from tf_multimodal.data.readers import cells
from tf_multimodal.data.readers.csv_table import CsvTable


@pytest.fixture
def make_table(tmp_path):
    def make(data: bytes, name="pairs.csv") -> CsvTable:
        path = tmp_path / name
        path.write_bytes(data)
        return CsvTable([str(path)], str(tmp_path), name)

    return make


def read_all(table, columns):
    blocks = list(table.read_rows(columns))
    rows = [row for block in blocks for row in block.rows]
    values = {c: [v for block in blocks for v in block.values[c]] for c in columns}
    return rows, values, [p for block in blocks for p in block.problems]


def test_rows_go_by_the_line_that_they_begin_in(make_table):
    table = make_table(
        b'a,b\r\n1,x\r\n\r\n2,"two\r\nlines"\r\n3,"three\n\nlines"\n4,"old\rmac"\r5,y'
    )
    rows, values, problems = read_all(table, ["b", "a"])
    assert rows == [2, 4, 6, 9, 11]
    assert values["a"] == ["1", "2", "3", "4", "5"]
    assert values["b"] == ["x", "two\r\nlines", "three\n\nlines", "old\rmac", "y"]
    assert not problems


def test_rows_of_another_width_are_problems_and_the_others_stay(make_table):
    table = make_table(b"a,b\n1,x\n2\n\n3,y,z\n4,w\n")
    rows, values, problems = read_all(table, ["a"])
    assert rows == [2, 6] and values["a"] == ["1", "4"]
    assert [problem.row for problem in problems] == [3, 5]
    assert "1 cells, expected 2" in problems[0].reason
    assert "3 cells, expected 2" in problems[1].reason


def test_a_cell_that_is_not_utf8_is_its_bytes(make_table):
    table = make_table("a,b\nné,ok\n".encode() + b"n\xe9,ok\n\0,ok\n")
    _, values, _ = read_all(table, ["a", "b"])
    assert values == {"a": ["né", b"n\xe9", "\0"], "b": ["ok"] * 3}


def test_blocks_are_bounded_in_rows_and_in_bytes(make_table, monkeypatch):
    count = 2 * BLOCK_ROWS + 10
    table = make_table(b"a\n" + b"x\n" * count)
    sizes = [len(block.rows) for block in table.read_rows(["a"])]
    assert sizes == [BLOCK_ROWS, BLOCK_ROWS, 10]
    monkeypatch.setattr(cells, "BLOCK_BYTES", 1000)
    table = make_table(b"a\n" + (b"x" * 99 + b"\n") * 1000)
    blocks = list(table.read_rows(["a"]))
    assert sum(len(block.rows) for block in blocks) == 1000
    assert max(len(block.rows) for block in blocks) <= 256  # 64 at once, and buffers
    numbers = [row for block in blocks for row in block.rows]
    assert numbers == list(range(2, 1002))


def test_cells_are_as_long_as_they_are(make_table):
    limit = csv.field_size_limit(10)
    try:
        table = make_table(b"a\n" + b"x" * 200_000 + b"\n")
        assert len(read_all(table, ["a"])[1]["a"][0]) == 200_000
    finally:
        csv.field_size_limit(max(limit, 200_000))


def test_several_files_keep_their_own_line_numbers(tmp_path):
    for name, text in (("b.csv", "b,a\n2,q\n"), ("a.csv", "a,b\np,1\n")):
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    blocks = list(CsvTable(paths, str(tmp_path), "*.csv").read_rows(["a"]))
    found = [(block.file, block.rows, block.values["a"]) for block in blocks]
    assert found == [(paths[0], [2], ["p"]), (paths[1], [2], ["q"])]
    (tmp_path / "b.csv").write_text("b\n2\n")
    with pytest.raises(ValueError, match="b.csv has no column 'a'"):
        list(CsvTable(paths, str(tmp_path), "*.csv").read_rows(["a"]))
