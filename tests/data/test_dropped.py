import dataclasses
import json

import numpy as np
import pytest

from tf_multimodal.data import spec
from tf_multimodal.data.dropped import DroppedRows, TooManyBadRows
from tf_multimodal.data.source import LeftOutRow

UNDECODABLE, MISSING = spec.UNDECODABLE_IMAGE, spec.MISSING_INPUT
IMAGES = [b"x", b"", b"", b"hello", b"y"]
TEXTS = ["a", "", "", "b", "c"]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_each_row_is_named_once_with_its_reason(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    dropped = DroppedRows(make_source(5, IMAGES, TEXTS), 0.5, 5, path)
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
    dropped = DroppedRows(make_source(5, IMAGES, TEXTS), 0.4, 5, path)
    dropped.record(0, UNDECODABLE)
    dropped.record(1, MISSING)  # 2 of 5 are 0.4: not above
    with pytest.raises(TooManyBadRows) as error:
        dropped.record(3, UNDECODABLE)
    assert dropped.error is error.value
    message = str(error.value)
    assert "3 of 5 training rows" in message and "max_drop_rate=0.4" in message
    assert "pairs.csv, row 5 (id id3, image 3.png): The image does not" in message
    assert str(path) in message and len(read_lines(path)) == 3


def test_rows_whose_text_is_used_are_named_but_do_not_count(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    dropped = DroppedRows(make_source(5, IMAGES, TEXTS), 0.2, 5, path)
    dropped.record(3, UNDECODABLE, left_out=False)
    dropped.record(0, UNDECODABLE, left_out=False)
    dropped.record(1, MISSING)
    assert [line["id"] for line in read_lines(path)] == ["id3", "id0", "id1"]
    assert dropped.left_out == {1} and set(dropped.reasons) == {0, 1, 3}
    with pytest.raises(TooManyBadRows, match="2 of 5") as error:
        dropped.record(2, MISSING)
    assert "id1" in str(error.value) and "id3" not in str(error.value)


def test_rows_that_lack_what_the_model_reads_do_not_count(tmp_path, make_source):
    """A model of texts alone meets rows with an image and no text."""
    path = tmp_path / "dropped.jsonl"
    dropped = DroppedRows(make_source(5, [b"x"] * 5, TEXTS), 0.0, 5, path)
    dropped.record(1, MISSING, fatal=True)
    assert read_lines(path)[0]["id"] == "id1" and dropped.left_out == {1}
    dropped.check_rate(1000)
    with pytest.raises(TooManyBadRows, match="1 of 5"):
        dropped.record(3, UNDECODABLE)


def test_fatal_names_the_one_row(make_source):
    dropped = DroppedRows(make_source(5, IMAGES, TEXTS), 1.0, 5)
    dropped.record(0, UNDECODABLE)
    with pytest.raises(TooManyBadRows, match="'raise'") as error:
        dropped.record(3, UNDECODABLE, fatal=True)
    assert "id3" in str(error.value) and "id0" not in str(error.value)


def test_a_resumed_run_names_no_row_again_and_mends_a_torn_line(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    source = make_source(5, IMAGES, TEXTS)
    DroppedRows(source, 1.0, 5, path).record(3, UNDECODABLE)
    with path.open("a") as file:
        file.write('{"file": "1.p')
    resumed = DroppedRows(source, 1.0, 5, path)
    resumed.record(3, UNDECODABLE)
    resumed.record(1, MISSING)
    assert [line["id"] for line in read_lines(path)] == ["id3", "id1"]


def test_rows_that_the_reader_left_out_are_named_once(tmp_path, make_source):
    path = tmp_path / "dropped.jsonl"
    reason, status = "The id is there twice.", "unusable_id"
    rows = [LeftOutRow("pairs.csv", 9, "id3", reason, status)]
    source = dataclasses.replace(make_source(5, IMAGES, TEXTS), left_out=(*rows,))
    for _ in range(2):
        dropped = DroppedRows(source, 1.0, 5, path)
        dropped.record_left_out()
        dropped.record(3, UNDECODABLE)  # the other one of this id
    first, second = read_lines(path)
    assert first == {
        "file": "pairs.csv",
        "row": 9,
        "id": "id3",
        "status": "unusable_id",
        "reason": "The id is there twice.",
    }
    assert second["file"] == "3.png" and second["row"] == 5


def test_the_rate_is_judged_before_all_rows_are_met(make_source):
    """Three standard deviations above 10 % of 100 rows are 19."""
    dropped = DroppedRows(make_source(5, IMAGES, TEXTS), 0.1, 1_000_000)
    for _ in range(19):
        dropped.record(3, UNDECODABLE)
    dropped.check_rate(99)
    dropped.check_rate(100)
    dropped.record(0, UNDECODABLE)
    dropped.check_rate(99)
    with pytest.raises(TooManyBadRows, match="20 of 100") as error:
        dropped.check_rate(100)
    assert "allows: 2 undecodable_image. The first" in str(error.value)
    assert dropped.error is error.value


def test_the_log_has_the_first_of_each_status_and_totals(make_source):
    dropped = DroppedRows(make_source(5, IMAGES, TEXTS), 1.0, 5)
    assert dropped.summarize() == ""
    for index, status in ((3, UNDECODABLE), (0, UNDECODABLE), (1, MISSING)):
        dropped.record(index, status, left_out=index != 0)
    first, second, totals = dropped.summarize().splitlines()
    assert first.startswith("First undecodable_image: pairs.csv, row 5 (id id3, image")
    assert second.startswith("First missing_input: pairs.csv, row 3 (id id1")
    assert "1 missing_input, 2 undecodable_image." in totals
    assert "3 of 5 training rows are bad, 2 of them are left out" in totals
    assert dropped.summarize() == ""
    dropped.record(3, UNDECODABLE)
    (totals,) = dropped.summarize().splitlines()
    assert "1 undecodable_image. In all 3 of 5" in totals


def test_the_caption_that_is_not_utf_8_is_explained(make_source):
    captions = np.empty(5, object)
    captions[:] = [("a", b"b\xff", "")] * 5
    source = dataclasses.replace(make_source(5, IMAGES, TEXTS), captions=captions)
    dropped = DroppedRows(source, 1.0, 5)
    dropped.record(2, spec.UNDECODABLE_TEXT)
    assert "byte 0xff at position 1" in dropped.reasons[2]


def leave_out(source, statuses):
    rows = (
        LeftOutRow("pairs.csv", 90 + number, "", f"reason {number}", status)
        for number, status in enumerate(statuses)
    )
    return dataclasses.replace(source, left_out=tuple(rows))


def test_rows_that_the_source_left_out_count_against_the_limit(make_source):
    source = leave_out(make_source(5, IMAGES, TEXTS), ["unusable_id"] * 3)
    dropped = DroppedRows(source, 0.5, 5)
    dropped.record(3, UNDECODABLE)  # 4 of 8
    with pytest.raises(TooManyBadRows, match="5 of 8 training rows") as error:
        dropped.record(0, UNDECODABLE)
    message = str(error.value)
    assert "3 of 8 rows were left out when pairs.csv was read: 3 unusable_id" in message
    assert "pairs.csv, row 90: reason 0" in message and "row 91" not in message
    # Of 4 rows that were left out, 2 fall to a run on half of the source.
    source = leave_out(make_source(4, IMAGES[:4], TEXTS[:4]), ["unusable_id"] * 4)
    dropped = DroppedRows(source, 0.5, 2)
    assert dropped.num_rows == 4
    with pytest.raises(TooManyBadRows, match="3 of 4 training rows"):
        dropped.record(3, UNDECODABLE)


def test_they_count_among_the_rows_met_so_far(make_source):
    """One row is left out for each that is met, and 10 % may be."""
    source = leave_out(make_source(5, IMAGES, TEXTS), ["unusable_id"] * 5)
    with pytest.raises(TooManyBadRows, match="100 of 200"):
        DroppedRows(source, 0.1, 5).check_rate(100)
    DroppedRows(source, 0.5, 5).check_rate(100)


def test_the_log_counts_them_once(make_source):
    statuses = ["unusable_id", "unusable_label", "unusable_id"]
    dropped = DroppedRows(leave_out(make_source(5, IMAGES, TEXTS), statuses), 1.0, 5)
    dropped.record(3, UNDECODABLE)
    first, *_, last = dropped.summarize().splitlines()
    assert first == (
        "3 of 8 rows were left out when pairs.csv was read: 2 unusable_id, "
        "1 unusable_label."
    )
    assert "In all 1 of 5 training rows are bad" in last
    assert dropped.summarize() == ""
