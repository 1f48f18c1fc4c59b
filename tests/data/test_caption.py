"""Captions for missing texts: what is filled, what stays, and going on."""

import csv
import json

import caption_samples
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tf_multimodal.data.caption.filling import Filling, choose_output
from tf_multimodal.data.manifest_file import open_manifest

EMPTY_REASONS = {
    "5": "does not decode",
    "6": "cannot be read",
    "7": "no image",
    "10": "leads out",
}


class Stopped(Exception):
    """Stands for a process that ends in the middle."""


class FakeCaptioner:
    """Calls an image by its height; stops after some batches."""

    name = "fake sha256:00"

    def __init__(self, batch_size=1, stop_after=None, prompt="caption en"):
        self.batch_size, self.stop_after = batch_size, stop_after
        self.settings = {"model": self.name, "prompt": prompt}
        self.batches = []

    def caption(self, images):
        if len(self.batches) == self.stop_after:
            raise Stopped
        self.batches.append(len(images))
        return [f"height {image.shape[0]}" for image in images]


@pytest.fixture
def manifest(tmp_path):
    return caption_samples.write_manifest(tmp_path)


def fill(manifest, captioner, **options):
    return Filling(str(manifest), choose_output(str(manifest)), **options).fill(
        captioner
    )


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_fills_the_missing_texts_and_nothing_else(manifest):
    before = manifest.read_bytes()
    filled = fill(manifest, FakeCaptioner(batch_size=2))
    assert manifest.read_bytes() == before
    old, new = read_csv(manifest), read_csv(filled.path)
    assert list(new) == list(old)
    for name, row in new.items():
        assert {key: row[key] for key in ("id", "image", "note")} == {
            key: old[name][key] for key in ("id", "image", "note")
        }
        if name in caption_samples.FILLED:
            expected = f"height {12 + caption_samples.FILLED[name]}"
            assert row["text"] == expected
            assert row["text_source"] == "generated"
            assert row["text_model"] == FakeCaptioner.name
        elif old[name]["text"]:
            assert row["text"] == old[name]["text"]
            assert (row["text_source"], row["text_model"]) == ("original", "")
        else:
            assert (row["text"], row["text_source"], row["text_model"]) == ("", "", "")
    assert (filled.original, filled.generated, filled.left_empty) == (2, 3, 4)


def test_names_the_rows_that_stay_empty(manifest, capsys):
    filled = fill(manifest, FakeCaptioner())
    with open(filled.left_empty_path, encoding="utf-8", newline="") as file:
        reasons = {row["row"]: row["reason"] for row in csv.DictReader(file)}
    assert list(reasons) == list(EMPTY_REASONS)
    for row, part in EMPTY_REASONS.items():
        assert part in reasons[row]
    assert "row 5, image broken.png" in capsys.readouterr().err


def test_goes_on_where_it_was_stopped(manifest, tmp_path):
    with pytest.raises(Stopped):
        fill(manifest, FakeCaptioner(stop_after=2))
    assert not (tmp_path / "pairs.captioned.csv").exists()
    (journal,) = tmp_path.glob(".*.journal")
    with open(journal, "ab") as file:  # a line that was not finished
        file.write(b'{"row": 8, "te')
    second = FakeCaptioner()
    filled = fill(manifest, second)
    assert second.batches == [1]
    assert not journal.exists()
    texts = {name: row["text"] for name, row in read_csv(filled.path).items()}
    assert (texts["b"], texts["c"], texts["g"]) == (
        "height 13",
        "height 14",
        "height 15",
    )


def test_does_not_mix_captions_of_two_settings(manifest):
    with pytest.raises(Stopped):
        fill(manifest, FakeCaptioner(stop_after=1))
    with pytest.raises(ValueError, match="another manifest, model"):
        fill(manifest, FakeCaptioner(prompt="answer en"))
    manifest.write_text(manifest.read_text(encoding="utf-8") + "j,1.png,,\n")
    with pytest.raises(ValueError, match="another manifest, model"):
        fill(manifest, FakeCaptioner())


def test_a_filled_manifest_can_be_filled_again(manifest, tmp_path):
    first = fill(manifest, FakeCaptioner())
    (tmp_path / "gone.png").write_bytes((tmp_path / "0.png").read_bytes())
    filled = fill(first.path, FakeCaptioner())
    second = read_csv(filled.path)
    sources = {name: row["text_source"] for name, row in second.items()}
    assert (sources["a"], sources["b"], sources["e"]) == (
        "original",
        "generated",
        "generated",
    )
    assert (filled.original, filled.generated, filled.left_empty) == (2, 4, 3)


def test_an_empty_caption_is_named(manifest):
    captioner = FakeCaptioner(batch_size=3)
    captioner.caption = lambda images: ["", "two", "three"]
    filled = fill(manifest, captioner)
    assert filled.generated == 2
    lines = filled.left_empty_path.read_text(encoding="utf-8").splitlines()
    assert "3,1.png,The model gave no caption." in lines


def test_a_cell_that_is_no_utf8_keeps_its_bytes(manifest):
    manifest.write_bytes(manifest.read_bytes() + b"j,1.png,caf\xe9,caf\xe9\n")
    filled = fill(manifest, FakeCaptioner())
    assert b"\nj,1.png,caf\xe9,caf\xe9,original," in (
        filled.path.read_bytes().replace(b"\r\n", b"\n")
    )


def test_a_table_without_a_text_column_gets_one(manifest, tmp_path):
    path = tmp_path / "images.tsv"
    path.write_text("image\tlabel\n1.png\tcat\n")
    filled = fill(path, FakeCaptioner())
    assert filled.path.read_text(encoding="utf-8").splitlines() == [
        "image\tlabel\ttext\ttext_source\ttext_model",
        "1.png\tcat\theight 13\tgenerated\tfake sha256:00",
    ]


def test_json_lines(manifest, tmp_path):
    rows = [
        {"image": "1.png", "n": 1.5, "tags": ["a"]},
        {"image": "2.png", "text": "猫"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    filled = fill(path, FakeCaptioner())
    new = [json.loads(line) for line in filled.path.read_text().splitlines()]
    marks = {"text_source": "generated", "text_model": FakeCaptioner.name}
    assert new[0] == rows[0] | {"text": "height 13"} | marks
    assert new[1] == rows[1] | {"text_source": "original", "text_model": ""}


def test_columns_of_json_lines_are_those_of_many_rows(manifest, tmp_path):
    rows = [{"id": "a"}, {"id": "b", "meta": {"image": "1.png"}}]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    filled = fill(path, FakeCaptioner(), image_column="meta.image")
    new = [json.loads(line) for line in filled.path.read_text().splitlines()]
    assert [row["text"] for row in new] == ["", "height 13"]
    assert new[1]["meta"] == rows[1]["meta"]


def test_parquet_text_that_is_no_utf8_keeps_its_bytes(manifest, tmp_path):
    notes = pa.array([b"caf\xe9", "猫".encode()]).view(pa.string())
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"image": ["1.png", "2.png"], "note": notes}), path)
    new = pq.read_table(fill(path, FakeCaptioner()).path)
    assert new["note"].combine_chunks().equals(notes)
    assert new["text"].to_pylist() == ["height 13", "height 14"]


def test_parquet_with_a_column_twice_is_refused(tmp_path):
    path = tmp_path / "pairs.parquet"
    columns = [pa.array(["1.png"]), pa.array(["x"]), pa.array(["y"])]
    pq.write_table(pa.Table.from_arrays(columns, ["image", "n", "n"]), path)
    with pytest.raises(ValueError, match="There twice: 'n'"):
        fill(path, FakeCaptioner())


def test_parquet_of_bytes(manifest, tmp_path):
    data = [(tmp_path / f"{n}.png").read_bytes() for n in (1, 2)]
    table = pa.table({"image": data, "text": [None, "a cat"], "n": pa.array([1, 2])})
    path = tmp_path / "pairs.parquet"
    pq.write_table(table, path)
    filled = fill(path, FakeCaptioner(), image_encoding="bytes")
    new = pq.read_table(filled.path)
    assert new.column_names == ["image", "text", "n", "text_source", "text_model"]
    assert new.select(["image", "n"]).equals(table.select(["image", "n"]))
    assert new["text"].to_pylist() == ["height 13", "a cat"]
    assert new["text_source"].to_pylist() == ["generated", "original"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"image,text\na.png\n", "row 2: 1 cells, expected 2"),
        (b'image,text\na.png,"a\n', "not a well-formed table"),
        (b"picture,text\na.png,\n", "no column 'image'"),
        (b"image,text,n,n\na.png,,1,2\n", "Twice in the header: 'n'"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error(tmp_path, content, message):
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        fill(path, FakeCaptioner())
    assert not (tmp_path / "pairs.captioned.csv").exists()


def test_refuses_names_that_would_harm(manifest, tmp_path):
    for output, message in (
        (manifest, "overwrite the manifest"),
        (tmp_path / "other" / "pairs.csv", "manifest's folder"),
        (tmp_path / "pairs.jsonl", "format"),
    ):
        with pytest.raises(ValueError, match=message):
            Filling(str(manifest), str(output))
    with pytest.raises(ValueError, match="must end in one of"):
        open_manifest(tmp_path / "0.png")


def test_base64(manifest, tmp_path):
    import base64

    cell = base64.b64encode((tmp_path / "1.png").read_bytes()).decode()
    path = tmp_path / "cells.csv"
    url = f"data:image/png;base64,{cell}"
    broken = "\n".join(cell[i : i + 76] for i in range(0, len(cell), 76))
    path.write_text(f'image,text\n{cell},\n"{url}",\n"{broken}",\n?,\n')
    filled = fill(path, FakeCaptioner(), image_encoding="base64")
    assert (filled.generated, filled.left_empty) == (3, 1)
    assert "not base64" in filled.left_empty_path.read_text(encoding="utf-8")
