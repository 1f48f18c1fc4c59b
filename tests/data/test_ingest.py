"""From rows of any reader to a source."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import grouping, ingestion
from tf_multimodal.data.ingest import IngestSettings, ingest_rows
from tf_multimodal.data.raw_rows import Problem, RawRows
from tf_multimodal.data.source_description import describe_source
from tf_multimodal.data.sources import open_manifest

COLUMNS = {"text": "text", "label": "label"}


@pytest.fixture
def ingest(tmp_path):
    """Ingests JSON lines of these objects; what is not given is the default."""

    def run(rows, columns=COLUMNS, **settings):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made = IngestSettings(columns=columns, **settings)
        return ingest_rows(open_manifest(str(path)), made, tmp_path / "cache")

    return run


def make_rows(count, **cells):
    """Rows of two classes; a value of `cells` is a function of the row."""
    return [
        {"text": f"text {i}", "label": "ab"[i % 2]}
        | {key: make(i) for key, make in cells.items()}
        for i in range(count)
    ]


BAD_CELLS = [
    ("label", " ", "empty label"),
    ("label", ["a"], "a list where one value is expected"),
    ("label", "\ud800", "not UTF-8"),
    ("text", ["x"], "several captions|list of texts"),
    ("split", "tset", "expected one of train"),
    ("split", ["train"], "a list where one value"),
    ("weight", "-1", "at least 0"),
    ("id", "row 3", "which row 4 has too"),
    ("id", "", "empty id"),
    ("group", None, "empty group"),
    ("image", "../up.png", "leads out of"),
    ("image", "/etc/passwd", "relative to"),
    ("image", ["a.png"], "no path"),
]


@pytest.mark.parametrize(("role", "cell", "reason"), BAD_CELLS)
def test_a_bad_cell_leaves_its_row_out_and_is_named(ingest, role, cell, reason):
    rows = make_rows(
        20,
        id=lambda i: f"row {i}",
        split=lambda i: "train",
        weight=lambda i: 2,
        group=lambda i: f"g{i}",
        image=lambda i: "",
    )
    rows[10][role] = cell
    columns = {key: key for key in rows[0]}
    source = ingest(rows, columns, bad_rows="drop", max_drop_rate=0.05)
    assert len(source) == 19 and len(source.left_out) == 1
    row = source.left_out[0]
    assert row.row == 11 and row.file == "pairs.jsonl"
    assert row.status == f"unusable_{role}"
    assert ingest(rows, columns, bad_rows="drop", max_drop_rate=0.05).left_out == (
        row,  # from the cache
    )
    assert any(part in row.reason for part in reason.split("|"))
    assert row.id == ("" if role == "id" else "row 10") or role == "id"
    assert 11 not in source.rows and set(source.weights) == {2}
    with pytest.raises(ValueError, match=f"row 11, column '{role}'"):
        ingest(rows, columns, bad_rows="raise")
    with pytest.raises(ValueError, match="1 of 20 rows are bad.*max_drop_rate=0.04"):
        ingest(rows, columns, bad_rows="drop", max_drop_rate=0.04)


def test_mask_keeps_rows_whose_image_alone_is_bad(ingest):
    rows = make_rows(20, image=lambda i: "../up.png" if i == 4 else "")
    columns = COLUMNS | {"image": "image"}
    source = ingest(rows, columns, bad_rows="mask", max_drop_rate=0.05)
    assert len(source) == 20 and not source.left_out
    assert source.files[4] == "../up.png" and "leads out" in source.images[4].reason
    rows[5]["image"] = "%%%"
    options = {"image_encoding": "base64", "bad_rows": "mask", "max_drop_rate": 0.1}
    source = ingest(rows, columns, **options)
    assert source.images[5] == b"not an image" and source.images[0] == b""


def test_rows_that_cannot_be_read_count_and_end_early(tmp_path, monkeypatch):
    monkeypatch.setattr(ingestion, "MAX_NAMED", 50)
    blocks = []

    class Broken:
        name, root, setting = "broken", str(tmp_path), "config.data.manifest"

        def compute_fingerprint(self):
            return "x"

        def list_columns(self):
            return ["text", "label"]

        def read_rows(self, columns):
            for start in range(0, 1000, 10):
                blocks.append(start)
                problems = [Problem(row, "torn") for row in range(start, start + 10)]
                yield RawRows([], {}, problems, "shard.tar")

    settings = IngestSettings(COLUMNS, bad_rows="drop", max_drop_rate=0.01)
    with pytest.raises(ValueError, match="broken cannot be used: 60 of 60.*") as error:
        ingest_rows(Broken(), settings, tmp_path)
    assert "shard.tar, row 0: torn" in str(error.value) and len(blocks) == 6
    assert "allows: 60 unusable_row" in str(error.value)
    assert not list(tmp_path.rglob("writing-*"))  # nothing half-written stays


def test_labels_are_renamed_merged_and_left_out_by_the_class_map(ingest, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("label,class\nb,बी\na,आ\nc,बी\njunk,\n", encoding="utf-8")
    rows = make_rows(12, label=lambda i: ["a", "b", "c", "junk"][i % 4])
    options = {"class_map": str(path), "bad_rows": "drop", "max_drop_rate": 0.2}
    source = ingest(rows, **options)
    assert source.classes == ("बी", "आ")  # the order of the file
    assert list(source.labels) == [1, 0, 0] * 3
    assert source.excluded == 3 and not source.left_out
    assert len(source) + source.excluded == 12
    rows[0]["label"] = "bb"
    assert "'bb', which is no label" in ingest(rows, **options).left_out[0].reason
    path.write_text("label,class\nb,B\na,A\nc,B\njunk,A\n")  # the file counts, too
    rows[0]["label"] = "a"
    assert ingest(rows, **options).classes == ("B", "A")
    with pytest.raises(FileNotFoundError, match="gone.csv"):
        ingest(rows, class_map="gone.csv")


@pytest.mark.parametrize("is_list", [True, False])
def test_rows_of_several_labels_or_none(ingest, is_list):
    sets = [["b", "a"], [], ["c", "", "c "], ["a"]]
    rows = make_rows(8, kinds=lambda i: sets[i % 4])
    if not is_list:
        rows = [row | {"kinds": "|".join(row["kinds"])} for row in rows]
    columns = COLUMNS | {"labels": "kinds", "label": "gone"}
    source = ingest(rows, columns)
    assert source.classes == ("a", "b", "c")
    expected = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    np.testing.assert_array_equal(source.label_sets.get(np.arange(4)), expected)
    assert list(source.labels[:4]) == [1, -1, 2, 0]
    np.testing.assert_array_equal(source.get_truth(np.array([6])), [[0, 0, 1]])
    assert list(source.count_labels(np.arange(8))) == [4, 2, 2]


def test_a_class_map_leaves_labels_out_of_sets(ingest, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("label,class\na,A\nb,B\nc,\n")
    rows = make_rows(8, kinds=lambda i: [["a", "c"], ["c"], ["b", "a"]][i % 3])
    columns = {"text": "text", "labels": "kinds"}
    source = ingest(rows, columns, class_map=str(path))
    expected = [[1, 0], [0, 0], [1, 1]]
    np.testing.assert_array_equal(source.label_sets.get(np.arange(3)), expected)
    assert len(source) == 8 and source.excluded == 0


def test_captions_are_columns_or_lists(ingest):
    rows = make_rows(
        8, en=lambda i: f"en {i}" if i else "", de=lambda i: f"de {i}", many=_list
    )
    source = ingest(rows, {"label": "label"}, captions=("en", "de"))
    assert source.caption_names == ("en", "de")
    assert source.captions[0] == ("", "de 0") and source.texts[0] == "de 0"
    assert source.captions[1] == ("en 1", "de 1") and source.texts[1] == "en 1"
    source = ingest(rows, {"label": "label"}, captions=("many",))
    assert source.caption_names == ("many[0]", "many[1]", "many[2]")
    assert source.captions[1] == ("m1", "", "") and source.captions[0] == ("",) * 3
    assert list(source.captions[np.array([5, 2])]) == [_pad(5), _pad(2)]
    with pytest.raises(ValueError, match="no column 'fr' for the captions"):
        ingest(rows, {"label": "label"}, captions=("fr",))


def _list(i):
    return [f"m{i}"] * (i % 4)


def _pad(i):
    return tuple(_list(i) + [""] * (3 - i % 4))


def test_a_template_makes_the_text(ingest):
    rows = make_rows(8, title=lambda i: f"T{i}" if i else "", body=lambda i: None)
    source = ingest(rows, {"label": "label"}, text_template="{title}: {body}")
    assert list(source.texts[:2]) == ["", "T1:"]
    with pytest.raises(ValueError, match="no column 'head' for the text.*'title'"):
        ingest(rows, {"label": "label"}, text_template="{head}")


def test_groups_are_equal_texts_or_images_or_a_column(ingest):
    texts = ["One  Cat", "one cat", "x", "y", "", ""]
    images = ["", "", "p.png", "p.png", "q.png", "r.png"]
    rows = make_rows(
        6,
        text=lambda i: texts[i],
        image=lambda i: images[i],
        split=lambda i: "train",
        group=lambda i: f"g{i // 4}",
    )
    columns = COLUMNS | {"image": "image", "split": "split"}
    source = ingest(rows, columns)
    assert list(source.groups) == ["1", "1", "3", "3", "5", "6"]
    assert source.groups[3] == "3"
    source = ingest(rows, columns | {"group": "group"})
    assert list(source.groups) == ["g0"] * 4 + ["g1"] * 2


def test_images_in_cells_are_kept_and_large_sets_are_not_compared(
    ingest, monkeypatch, capsys
):
    monkeypatch.setattr(ingestion, "COMPARED_IMAGES", 5)
    rows = make_rows(
        8, image=lambda i: ["aGk=", "data:image/png;base64,aG8=", ""][i % 3]
    )
    columns = COLUMNS | {"image": "image"}
    source = ingest(rows, columns, image_encoding="base64")
    assert list(source.images[:3]) == [b"hi", b"ho", b""]
    assert "6 images are too many" in capsys.readouterr().out
    assert len(set(source.groups)) == 4  # equal bytes are found all the same
    assert list(source.files[:3]) == ["1", "2", ""]


def test_a_table_is_made_again_when_a_file_or_a_setting_changes(ingest, tmp_path):
    rows = make_rows(8)
    first = ingest(rows)
    cache = tmp_path / "cache"
    tables = [path.parent for path in cache.rglob("facts.json")]
    times = [os.stat(path / "facts.json").st_mtime_ns for path in tables]
    path = tmp_path / "pairs.jsonl"
    status = path.stat()

    def again(**settings):
        made = IngestSettings(COLUMNS, **settings)
        return ingest_rows(open_manifest(str(path)), made, cache)

    assert again().compute_fingerprint() == first.compute_fingerprint()
    assert [os.stat(p / "facts.json").st_mtime_ns for p in tables] == times
    again(split_fractions=(0.5, 0.25, 0.25))
    assert len(list(cache.rglob("facts.json"))) == 2
    path.write_text(path.read_text().replace("text 3", "text X"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    changed = again()
    assert changed.texts[3] == "text X"
    assert changed.compute_fingerprint() != first.compute_fingerprint()
    assert len(list(cache.rglob("facts.json"))) == 1  # the old ones are gone


def test_the_fingerprint_does_not_depend_on_blocks(ingest, monkeypatch):
    from tf_multimodal.data.readers import cells

    whole = ingest(make_rows(30))
    monkeypatch.setattr(cells, "BLOCK_ROWS", 7)
    parts = ingest(make_rows(30))  # written again: another time
    assert whole.fingerprint == parts.fingerprint
    assert whole.fingerprint != ingest(make_rows(29)).fingerprint


def test_rows_of_several_files_have_different_ids(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        lines = [f"{i},text {folder} {i},{'xy'[i % 2]}" for i in range(5)]
        text = "\n".join(["key,text,label", *lines])
        (tmp_path / folder / "part.csv").write_text(text)
    reader = open_manifest(str(tmp_path / "*" / "part.csv"))
    source = ingest_rows(reader, IngestSettings(COLUMNS), tmp_path / "cache")
    assert list(source.ids[[0, 5]]) == ["a/part.csv:2", "b/part.csv:2"]
    assert len(set(source.ids)) == 10
    settings = dataclasses.replace(
        IngestSettings(COLUMNS | {"id": "key"}), bad_rows="drop", max_drop_rate=0.5
    )
    source = ingest_rows(reader, settings, tmp_path / "cache")
    assert len(source) == 5 and len(source.left_out) == 5
    row = source.left_out[0]
    assert pathlib.Path(row.file) == tmp_path / "b" / "part.csv" and row.row == 2
    assert f"row 2 of {tmp_path / 'a' / 'part.csv'}" in row.reason


def test_too_many_bad_rows_are_counted_and_the_first_of_each_kind_is_named(ingest):
    rows = make_rows(20, weight=lambda i: -1 if i == 15 else 1)
    for row in rows[:8]:
        row["label"] = ""
    columns = COLUMNS | {"weight": "weight"}
    for options in ({}, {"bad_rows": "drop", "max_drop_rate": 0.4}):
        with pytest.raises(ValueError, match="9 of 20 rows are bad") as error:
            ingest(rows, columns, **options)
        message = str(error.value)
        assert ": 8 unusable_label, 1 unusable_weight\n" in message
        assert "row 5, column 'label'" in message and "and 3 more" in message
        assert "row 6," not in message and "row 16, column 'weight'" in message


def test_what_is_left_out_is_described_by_kind(ingest, capsys):
    rows = make_rows(20, weight=lambda i: -1 if i == 15 else 1)
    for row in rows[:4]:
        row["label"] = ""
    columns = COLUMNS | {"weight": "weight"}
    source = ingest(rows, columns, bad_rows="drop", max_drop_rate=0.5)
    assert len(source) == 15 and source.rows_read == 20
    describe_source(source)
    output = capsys.readouterr().out
    assert "5 of 20 rows cannot be used: 4 unusable_label, 1 unusable_weight" in output
    assert "pairs.jsonl, row 1: received an empty label" in output
    assert "pairs.jsonl, row 16: " in output and "row 2: received" not in output


def test_the_fingerprint_follows_captions_and_groups(ingest):
    columns = {"label": "label", "group": "group"}

    def read(caption, group):
        rows = make_rows(8, de=lambda i: caption, group=lambda i: f"{group}{i}")
        captions = ("text", "de")  # the text of a row is the first one
        return ingest(rows, columns, captions=captions).compute_fingerprint()

    first = read("ein", "g")
    assert len({first, read("zwei", "g"), read("ein", "h")}) == 3
    assert read("ein", "g") == first


def test_labels_are_one_class_however_an_accent_is_written(ingest, tmp_path, capsys):
    composed, apart = "\u00e9t\u00e9", "e\u0301te\u0301"
    rows = make_rows(12, label=lambda i: [composed, apart, "hiver"][i % 3])
    source = ingest(rows)
    assert source.classes == ("hiver", composed)
    assert list(source.labels[:3]) == [1, 1, 0]
    assert "1 spellings of labels" in capsys.readouterr().out
    path = tmp_path / "classes.csv"
    path.write_text(f"label,class\n{apart},warm\nhiver,cold\n", encoding="utf-8")
    assert list(ingest(rows, class_map=str(path)).labels[:3]) == [0, 0, 1]
    # A model's own names stay as they are.
    assert ingest(rows, classes=("hiver", apart)).classes == ("hiver", apart)


def test_a_message_shows_the_beginning_of_a_long_cell(ingest):
    rows = make_rows(8, weight=lambda i: "1", image=lambda i: "")
    columns = COLUMNS | {"weight": "weight", "image": "image"}
    for role in ("weight", "image"):
        rows[3][role] = "/9j/" + "A" * 100_000
        with pytest.raises(ValueError, match="/9j/A+'… .100004 characters") as error:
            ingest(rows, columns)
        assert len(str(error.value)) < 500
        rows[3][role] = "1"


def test_a_table_without_anything_is_called_empty(ingest, tmp_path):
    with pytest.raises(ValueError, match="pairs.jsonl has no columns: it is empty"):
        ingest([])


def test_only_rows_with_an_image_are_looked_at(ingest, tmp_path, monkeypatch):
    for number in range(3):
        blocks = np.random.RandomState(number // 2).randint(0, 256, (5, 5, 3), np.uint8)
        image = tf.io.encode_png(blocks.repeat(6, 0).repeat(6, 1)).numpy()
        (tmp_path / f"{number}.png").write_bytes(image)
    looked_at = []
    hash_images = grouping.hash_images

    def record(images, *args):
        looked_at.extend(images)
        return hash_images(images, *args)

    monkeypatch.setattr(grouping, "hash_images", record)
    names = {2: "0.png", 5: "2.png", 7: "1.png"}
    rows = make_rows(9, image=lambda i: names.get(i, ""))
    source = ingest(rows, COLUMNS | {"image": "image"})
    assert [pathlib.Path(path).name for path in looked_at] == [
        "0.png",
        "2.png",
        "1.png",
    ]
    assert source.groups[7] == source.groups[2] != source.groups[5]
    assert len(set(source.groups)) == 8
