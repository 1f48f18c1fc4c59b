import json

import pytest

from tf_multimodal.data import spec
from tf_multimodal.data.dropped import DroppedRows, TooManyBadRows

UNDECODABLE, MISSING = spec.UNDECODABLE_IMAGE, spec.MISSING_INPUT
IMAGES = [b"x", b"", b"", b"hello", b"y"]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_row_is_named_once_with_its_reason(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    dropped = DroppedRows(make_source(5, IMAGES), 0.5, 5, path)
    for index in (3, 1, 3, 1):
        dropped.record(index, UNDECODABLE if index == 3 else MISSING)
    first, second = read_lines(path)
    reason = first.pop("reason")
    assert first == {"file": "3.png", "row": 5, "id": "id3", "status": UNDECODABLE}
    assert "does not decode" in reason and "no width and height" in reason
    assert second["id"] == "id1" and "no input" in second["reason"]
    assert second["status"] == MISSING
    assert dropped.error is None and set(dropped.reasons) == {1, 3}


def test_over_the_limit_it_raises_with_reasons(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    dropped = DroppedRows(make_source(5, IMAGES), 0.4, 5, path)
    dropped.record(0, UNDECODABLE)
    dropped.record(1, MISSING)  # 2 of 5 are 0.4: not above
    with pytest.raises(TooManyBadRows) as error:
        dropped.record(3, UNDECODABLE)
    assert dropped.error is error.value
    message = str(error.value)
    assert "3 of 5 training rows" in message and "max_bad_fraction=0.4" in message
    assert "pairs.csv, row 5 (id id3, image 3.png): The image does not" in message
    assert str(path) in message and len(read_lines(path)) == 3


def test_rows_whose_text_is_used_are_named_but_do_not_count(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    dropped = DroppedRows(make_source(5, IMAGES), 0.2, 5, path)
    dropped.record(3, UNDECODABLE, left_out=False)
    dropped.record(0, UNDECODABLE, left_out=False)
    dropped.record(1, MISSING)
    assert [line["id"] for line in read_lines(path)] == ["id3", "id0", "id1"]
    assert dropped.left_out == {1} and set(dropped.reasons) == {0, 1, 3}
    with pytest.raises(TooManyBadRows, match="2 of 5") as error:
        dropped.record(2, MISSING)
    assert "id1" in str(error.value) and "id3" not in str(error.value)


def test_fatal_names_the_one_row(make_source):
    dropped = DroppedRows(make_source(5, IMAGES), 1.0, 5)
    dropped.record(0, UNDECODABLE)
    with pytest.raises(TooManyBadRows, match="'raise'") as error:
        dropped.record(3, UNDECODABLE, fatal=True)
    assert "id3" in str(error.value) and "id0" not in str(error.value)


def test_a_resumed_run_names_no_row_again_and_mends_a_torn_line(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    source = make_source(5, IMAGES)
    DroppedRows(source, 1.0, 5, path).record(3, UNDECODABLE)
    with path.open("a") as file:
        file.write('{"file": "1.p')
    resumed = DroppedRows(source, 1.0, 5, path)
    resumed.record(3, UNDECODABLE)
    resumed.record(1, MISSING)
    assert [line["id"] for line in read_lines(path)] == ["id3", "id1"]
