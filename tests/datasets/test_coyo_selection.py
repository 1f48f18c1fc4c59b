import collections
import dataclasses
import itertools
import sys

import numpy as np
import pyarrow as pa
import pytest
from coyo_tables import LABELS, make_label_row, make_row, write_table

from tf_multimodal.datasets.coyo import buckets, choice, tables
from tf_multimodal.datasets.coyo import selection as selection_lib
from tf_multimodal.datasets.coyo.recipe import ClassRule, Recipe
from tf_multimodal.datasets.coyo.selection import Selector

ANIMALS = (
    ClassRule("dog", keywords=("dog", "puppy"), without=("hot dog",)),
    ClassRule("cat", keywords=("cat",)),
)
LABELED = (ClassRule("dog", label_ids=(7, 8)), ClassRule("cat", label_ids=(3,)))
KEYWORDS = Recipe(ANIMALS, per_class=100)


@pytest.fixture
def select(tmp_path):
    """Writes rows to files of ten and selects from them."""

    def run(recipe, rows, label_rows=None):
        for folder, items, schema in (("m", rows, None), ("l", label_rows, LABELS)):
            for start in range(0, len(items or ()), 10):
                path = tmp_path / folder / f"part-{start:05}.snappy.parquet"
                part = items[start : start + 10]
                write_table(path, part, *([schema] if schema else []))
        labels = str(tmp_path / "l" / "*.parquet") if label_rows else ""
        metadata = str(tmp_path / "m" / "*.parquet")
        selection = Selector(recipe, metadata, labels, tmp_path / "buckets").select()
        assert not (tmp_path / "buckets").exists()
        left_out = sum(selection.left_out.values())
        assert selection.rows_read == len(rows) == len(selection.rows) + left_out
        assert all(selection.left_out.values())
        return selection

    return run


def get_ids(selection):
    return sorted(selection.rows["id"].to_pylist())


def make_animals(count):
    texts = ("my dog number {}", "a cat called {}")
    return [make_row(i, texts[i % 2].format(i)) for i in range(count)]


def test_every_row_is_selected_or_counted_by_its_reason(select):
    rows = [
        make_row(0, "A Dog in the park"),
        make_row(1, "cat, asleep", clip_similarity_vitb32=0.1),
        make_row(2, "cat, awake", clip_similarity_vitb32=None),
        make_row(3, "a house"),
        make_row(4, None),
        make_row(5, "dog and cat"),
        make_row(6, "a hot dog"),
        make_row(7, "кот и dog на улице города"),
        make_row(8, "puppy", url="file:///etc/passwd"),
        make_row(9, "puppy", url=None),
        make_row(10, "puppy", image_phash=None),
        make_row(11, "cat, alone"),
    ]
    recipe = dataclasses.replace(
        KEYWORDS,
        where=("clip_similarity_vitb32 > 0.3", "width >= 200"),
        scripts=("Latin",),
    )
    selection = select(recipe, rows)
    assert get_ids(selection) == [0, 11]
    assert selection.left_out == {
        "not: clip_similarity_vitb32 > 0.3": 2,
        "no http or https URL": 2,
        "no id or no image_phash": 1,
        "text of another script": 2,
        "words of several classes": 1,
        "no keyword in the text": 2,
    }
    by_id = {row["id"]: row for row in selection.rows.to_pylist()}
    assert by_id[0]["label"] == "dog" and by_id[11]["label"] == "cat"
    assert by_id[0]["text"] == "A Dog in the park"
    assert by_id[0]["masked_text"] == "A in the park"
    assert by_id[11]["masked_text"] == ", alone"


@pytest.mark.parametrize("rows_per_bucket", [1, 10_000])
def test_an_image_a_url_and_a_text_are_taken_once(select, monkeypatch, rows_per_bucket):
    monkeypatch.setattr(buckets, "ROWS_PER_BUCKET", rows_per_bucket)
    rows = [
        make_row(0, "dog one"),
        make_row(1, "dog two", image_phash=make_row(0)["image_phash"]),
        make_row(2, "dog three", image_phash="00ff"),
        make_row(3, "cat three", image_phash="00ff"),
        make_row(4, "dog four", url="http://host/same.jpg"),
        make_row(5, "cat four", url="http://host/same.jpg"),
        make_row(6, "a DOG  again"),
        make_row(7, "a dog again"),
    ]
    selection = select(KEYWORDS, rows)
    assert selection.left_out == {
        "image_phash taken": 2,
        "image of several classes": 1,
        "URL taken": 1,
        "text taken": 1,
    }
    ids = get_ids(selection)
    assert ids[0] == 0 and len(ids) == 3


def test_balanced_and_the_same_whatever_the_files_and_buckets(
    select, monkeypatch, tmp_path
):
    recipe = dataclasses.replace(KEYWORDS, per_class=5)
    rows = make_animals(60)
    first = select(recipe, rows)
    assert collections.Counter(first.rows["label"].to_pylist()) == {"dog": 5, "cat": 5}
    assert first.left_out == {"class is full": 50}
    monkeypatch.setattr(buckets, "ROWS_PER_BUCKET", 4)
    monkeypatch.setattr(tables, "BATCH_ROWS", 3)
    (tmp_path / "buckets" / "images").mkdir(parents=True)  # of a run that was killed
    assert select(recipe, rows[::-1]).rows.equals(first.rows)
    more = select(dataclasses.replace(recipe, per_class=7), rows)
    assert set(get_ids(first)) < set(get_ids(more))
    other = select(dataclasses.replace(recipe, seed=1), rows)
    assert get_ids(other) != get_ids(first)


def test_split_follows_the_image_hash(select):
    rows = make_animals(600)
    selection = select(dataclasses.replace(KEYWORDS, per_class=300), rows)
    counts = collections.Counter(selection.rows["split"].to_pylist())
    assert 380 < counts["train"] < 460
    assert 60 < counts["validation"] < 120 and 60 < counts["test"] < 120
    splits = {r["image_phash"]: r["split"] for r in selection.rows.to_pylist()}
    few = select(dataclasses.replace(KEYWORDS, per_class=20), rows)
    assert all(splits[r["image_phash"]] == r["split"] for r in few.rows.to_pylist())
    elsewhere = [
        row | {"id": 1000 + row["id"], "url": f"http://mirror/{row['id']}.jpg"}
        for row in rows
    ]
    moved = select(dataclasses.replace(KEYWORDS, per_class=300), elsewhere)
    assert {r["image_phash"]: r["split"] for r in moved.rows.to_pylist()} == splits
    hashes = selection.rows["image_phash"]
    assert set(choice.assign_splits(hashes, (1 - 2e-9, 1e-9, 1e-9), 0)) == {"train"}


@pytest.mark.parametrize("rows_per_bucket", [4, 10_000])
def test_labels_are_joined_by_id(select, monkeypatch, rows_per_bucket):
    monkeypatch.setattr(buckets, "ROWS_PER_BUCKET", rows_per_bucket)
    monkeypatch.setattr(selection_lib, "_SLOTS", rows_per_bucket)
    probs = {
        1: {7: 0.6, 3: 0.1},
        2: {100: 0.7, 3: 0.55, 8: 0.51},
        3: {3: 0.4, 7: 0.45},  # none likely enough
        4: {100: 0.9},
        5: {8: 0.5},
        99: {7: 0.9},  # no such row in the metadata
    }
    label_rows = [make_label_row(i, p) for i, p in reversed(probs.items())]
    label_rows.append(label_rows[-1])  # a row that stands twice
    rows = [make_row(i, f"picture {i}") for i in range(30)]
    recipe = Recipe(LABELED, per_class=10, min_label_prob=0.5)
    selection = select(recipe, rows, label_rows)
    labels = {r["id"]: r["label"] for r in selection.rows.to_pylist()}
    assert labels == {1: "dog", 2: "cat", 5: "dog"}
    assert selection.left_out == {"no class in COYO-Labeled": 27}
    assert set(selection.rows["masked_text"].to_pylist()) == {
        "picture 1",
        "picture 2",
        "picture 5",
    }


def test_rows_without_a_text_are_no_repeats(select):
    rows = [make_row(1, ""), make_row(2, None), make_row(3, "")]
    label_rows = [make_label_row(i, {7: 0.9}) for i in (1, 2, 3)]
    selection = select(Recipe(LABELED, per_class=10), rows, label_rows)
    assert get_ids(selection) == [1, 2, 3]


def test_buckets_share_the_rows_in_the_order_of_their_hashes(tmp_path):
    rows = pa.table({"id": range(4000)})
    hashes = buckets.compute_hashes(rows["id"], "id")
    with buckets.Buckets(tmp_path / "b", rows.schema, 8) as files:
        for start in range(0, 4000, 1000):
            files.write(rows.slice(start, 1000), hashes[start : start + 1000])
        parts = [part["id"].to_numpy() for part in files.read()]
    assert all(400 < len(part) < 600 for part in parts)
    assert sorted(np.concatenate(parts)) == list(range(4000))
    for one, other in itertools.pairwise(parts):
        assert hashes[one].max() < hashes[other].min()
    assert not list((tmp_path / "b").iterdir())
    counts = {rows: buckets.count_buckets(rows) for rows in (0, 100_001, 747_000_000)}
    assert counts == {0: 1, 100_001: 2, 747_000_000: 512}


def test_labels_go_with_label_ids_alone(select, tmp_path):
    with pytest.raises(ValueError, match="go with classes by 'label_ids'"):
        select(dataclasses.replace(KEYWORDS, classes=LABELED), make_animals(3))
    with pytest.raises(ValueError, match="go with classes by 'label_ids'"):
        select(KEYWORDS, make_animals(3), [make_label_row(1, {7: 1.0})])


def test_bad_tables_are_named(tmp_path, select):
    with pytest.raises(FileNotFoundError, match="nothing"):
        Selector(KEYWORDS, str(tmp_path / "nothing-*.parquet"), "", tmp_path / "b")
    path = tmp_path / "text.parquet"
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="text.parquet is no Parquet file"):
        Selector(KEYWORDS, str(path), "", tmp_path / "b")
    write_table(path, [make_label_row(1, {7: 1.0})], LABELS)
    with pytest.raises(ValueError, match="has no column text, image_phash"):
        Selector(KEYWORDS, str(path), "", tmp_path / "b")
    write_table(tmp_path / "m" / "part-00000.parquet", make_animals(2000))
    damaged = tmp_path / "m" / "part-00001.parquet"
    write_table(damaged, make_animals(2000), row_group_size=100)
    data = bytearray(damaged.read_bytes())
    data[2000:9000] = bytes(7000)
    damaged.write_bytes(data)
    selector = Selector(KEYWORDS, str(tmp_path / "m/*.parquet"), "", tmp_path / "b")
    with pytest.raises(ValueError, match="part-00001.parquet cannot be read"):
        selector.select()
    assert not (tmp_path / "b").exists()


def test_a_missing_pandas_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"pip install 'tf_multimodal\[coyo\]'"):
        buckets.compute_hashes(pa.chunked_array([[1, 2]]), "id")


def test_a_table_is_closed_whether_it_can_be_read_or_not(tmp_path, monkeypatch):
    opened = []

    def open_file(path):
        opened.append(open(path, "rb"))
        return opened[-1]

    monkeypatch.setattr(tables.files, "open_file", open_file)
    write_table(tmp_path / "good.parquet", [make_row(0)])
    (tmp_path / "bad.parquet").write_bytes(b"no table" * 10)
    read = tables.Tables(str(tmp_path / "good.parquet"), ["id"]).read_batches(["id"])
    assert [len(rows) for rows in read] == [1]
    with pytest.raises(ValueError, match="bad.parquet is no Parquet file"):
        tables.Tables(str(tmp_path / "bad.parquet"), ["id"])
    assert [file.closed for file in opened] == [True] * 3
