"""Tables in the cache: removed under a reader, left by a kill, made by two at once."""

import base64
import os
import shutil
import time
import tracemalloc
import weakref

import numpy as np
import pytest

from tf_multimodal.config import make_mixture_part
from tf_multimodal.data import ingest as ingest_lib
from tf_multimodal.data import sources
from tf_multimodal.data.ingest import IngestSettings, ingest_rows
from tf_multimodal.data.raw_rows import RawRows
from tf_multimodal.data.sources import load_source, open_manifest

COLUMNS = {"image": "image", "text": "text", "label": "label"}
ABANDONED = ingest_lib._ABANDONED_SECONDS


class Cells(list):
    """The cells of a block; unlike a list's, its end can be seen."""


class Rows:
    """A reader that knows how many of its blocks are held at once."""

    name, root, setting = "rows", "/", "config.data.manifest"

    def __init__(self, count):
        self.count, self.most_held = count, 0
        self._blocks = []

    def compute_fingerprint(self):
        return str(self.count)

    def list_columns(self):
        return ["text", "label"]

    def read_rows(self, columns):
        for start in range(0, self.count, 1000):
            rows = list(range(start, start + 1000))
            texts = [f"a text of some length, and of row {row}" for row in rows]
            block = RawRows(rows, {"text": Cells(texts), "label": ["a", "b"] * 500})
            self._blocks.append(weakref.ref(block.values["text"]))
            held = sum(get() is not None for get in self._blocks)
            self.most_held = max(self.most_held, held)
            yield block


@pytest.fixture
def read(tmp_path):
    """Reads a manifest with images in its cells, whose texts begin with a word."""

    def run(word, name="pairs.csv"):
        path = tmp_path / name
        cell = base64.b64encode(b"an image of 20 bytes").decode()
        lines = [f"{cell},{word} {i},{'ab'[i % 2]}" for i in range(6)]
        path.write_text("\n".join(["image,text,label", *lines]))
        os.utime(path, ns=(0, sum(word.encode())))
        settings = IngestSettings(COLUMNS, image_encoding="base64")
        return ingest_rows(open_manifest(str(path)), settings, tmp_path / "cache")

    return run


def list_tables(tmp_path):
    return sorted((tmp_path / "cache" / "rows").glob("*/*"))


def test_a_source_outlives_its_table(read, tmp_path):
    first = read("old")
    second = read("new")  # the table of the file as it was is removed
    assert len(list_tables(tmp_path)) == 1
    shutil.rmtree(tmp_path / "cache")
    for source, word in ((first, "old"), (second, "new")):
        assert source.images[5] == b"an image of 20 bytes"
        assert source.texts[5] == f"{word} 5" and list(source.ids)[0] == "2"
        assert list(source.groups[[1, 2]]) == ["2", "2"]


def test_what_a_killed_process_left_is_removed_after_a_day(read, tmp_path):
    read("old")
    parent = list_tables(tmp_path)[0].parent
    left, busy = parent / "writing-left", parent / "writing-busy"
    for folder, seconds in ((left, ABANDONED + 60), (busy, ABANDONED - 60)):
        folder.mkdir()
        (folder / "images.bin").touch()
        for path in (folder / "images.bin", folder):
            os.utime(path, (time.time() - seconds,) * 2)
    assert read("old").texts[0] == "old 0" and left.exists()  # nothing was written
    read("new")
    assert not left.exists() and busy.exists()


def test_a_reader_that_fails_leaves_nothing(tmp_path):
    class Broken(Rows):
        def read_rows(self, columns):
            yield from super().read_rows(columns)
            raise ValueError("the file ends early")

    settings = IngestSettings({"text": "text", "label": "label"})
    with pytest.raises(ValueError, match="ends early"):
        ingest_rows(Broken(1000), settings, tmp_path / "cache")
    assert not list_tables(tmp_path)


def test_the_first_of_two_processes_makes_the_table(read, tmp_path, monkeypatch):
    original, made = ingest_lib.Ingestion, []

    class Slower(original):
        def run(self):
            super().run()
            if not made:
                made.append(True)
                made.append(read("same"))  # meanwhile another process is done

    monkeypatch.setattr(ingest_lib, "Ingestion", Slower)
    source = read("same")
    assert len(list_tables(tmp_path)) == 1
    assert list(source.texts) == list(made[1].texts)


def test_no_block_is_held(tmp_path):
    reader = Rows(8000)
    settings = IngestSettings({"text": "text", "label": "label"})
    assert len(ingest_rows(reader, settings, tmp_path / "cache")) == 8000
    assert reader.most_held <= 2  # the one being read, and the one before


def test_a_source_holds_numbers_alone(tmp_path):
    """A row of Python objects would take hundreds of bytes."""

    def measure(count):
        settings = IngestSettings({"text": "text", "label": "label"})
        tracemalloc.start()
        source = ingest_rows(Rows(count), settings, tmp_path / "cache")
        assert sum(1 for _ in source.texts) == len(source) == count
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return held

    measure(1000)  # what is made once
    assert measure(22_000) - measure(2000) < 20_000 * 80


def test_a_class_map_over_all_parts_and_one_of_a_part(config, tmp_path):
    for name in ("own", "web"):
        lines = [f"{name} {i},{'ab'[i % 2]}" for i in range(8)]
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join(["text,label", *lines]))
        config.data.mixture[name] = make_mixture_part(
            1, manifest=str(path), columns={"image": ""}
        )
    config.cache_dir, config.model.modalities = str(tmp_path / "cache"), "text"
    for name, text in (("all", "b,Bee\na,Ant\n"), ("web", "b,\na,Ant\nc,Bee\n")):
        (tmp_path / f"{name}.map").write_text(f"label,class\n{text}")
    config.data.class_map = str(tmp_path / "all.map")
    assert load_source(config).classes == ("Bee", "Ant")
    config.data.mixture.web.class_map = str(tmp_path / "web.map")
    source = load_source(config)
    assert source.excluded == 4 and source.classes == ("Bee", "Ant")
    np.testing.assert_array_equal(source.labels, [1, 0] * 4 + [1] * 4)


def test_a_class_map_without_labels(config, tmp_path):
    (tmp_path / "pairs.csv").write_text("text,label\nx,a\ny,b\n")
    config.data.manifest, config.data.columns.image = str(tmp_path / "pairs.csv"), ""
    config.data.class_map = str(tmp_path / "classes.csv")
    for text in ("", "label,class\n"):
        (tmp_path / "classes.csv").write_text(text)
        with pytest.raises(ValueError, match="names no label"):
            load_source(config)


def test_records_have_splits_of_their_own(config, make_source):
    config.data.records = "shards"
    source = make_source(4)  # all of it is for training
    sources._check_splits(source, config.data)
    config.data.records, config.data.manifest = "", "pairs.csv"
    with pytest.raises(ValueError, match="leaves validation and test empty"):
        sources._check_splits(source, config.data)
