import io
import json
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from record_samples import (
    COUNT,
    encode,
    make_column,
    make_config,
    make_label_sets,
    make_source,
)

from tf_multimodal.data import files, sources
from tf_multimodal.data.readers.record_shards import RecordShards
from tf_multimodal.data.records import index, pipeline, shards
from tf_multimodal.data.records.example import make_example, parse_example
from tf_multimodal.data.records.images import scale_image
from tf_multimodal.data.source import LeftOutRow


@pytest.fixture
def writes(monkeypatch):
    """The shards that were written, by Beam's place in this process."""
    numbers = []

    def run(job, todo, options):
        for number in todo:
            shards.write_shard(job, number)
            name = index.name_report(index.name_shard(number, job.shards))
            if files.is_file(files.join(job.folder, name)):
                numbers.append(number)

    monkeypatch.setattr(pipeline, "run_pipeline", run)
    return numbers


@pytest.fixture
def write(monkeypatch, writes):
    """Writes a source that lies in memory; returns the index."""

    def write(source, folder, config=None, **settings):
        monkeypatch.setattr(sources, "load_source", lambda config: source)
        shards._open_source.cache_clear()
        settings = pipeline.Settings(**{"rows_per_shard": 3, **settings})
        return pipeline.write_records(config or make_config(), str(folder), settings)

    return write


def read(folder, columns):
    """Reads the columns, and images as bytes."""
    reader = RecordShards(str(folder))
    assert set(columns) <= set(reader.list_columns())
    values = {column: [] for column in columns}
    for block in reader.read_rows(columns):
        assert not block.problems
        for column in columns:
            values[column] += block.values[column]
    if "image" in columns:
        values["image"] = [v and files.read_range(*v) for v in values["image"]]
    return types.SimpleNamespace(reader=reader, **values)


def read_dropped(folder):
    lines = (folder / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def hash_files(folder):
    return {p.name: files.compute_sha256(str(p)) for p in sorted(folder.iterdir())}


def test_rows_come_back_as_they_were(tmp_path, write):
    source = make_source()
    write(source, tmp_path)
    columns = (
        "id",
        "split",
        "group",
        "weight",
        "image",
        "text",
        "label",
        "file",
        "row",
    )
    found = read(tmp_path, columns)
    assert found.id == list(source.ids)
    assert found.split == list(source.splits)
    assert found.group == list(source.groups)
    assert np.array_equal(np.array(found.weight, np.float32), source.weights)
    assert found.image == list(source.images)
    assert found.text == list(source.texts)
    assert found.label == [source.classes[label] for label in source.labels]
    assert found.reader.classes == source.classes
    assert found.file == list(source.files)
    assert found.row == list(map(str, source.rows))


def test_label_sets_and_captions_come_back(tmp_path, write):
    captions = [(f"a {i}", "" if i % 2 else f"b {i}") for i in range(COUNT)]
    write(
        make_source(
            texts=[first for first, _ in captions],
            label_sets=make_label_sets(),
            captions=make_column(captions),
            caption_names=("text", "alt"),
        ),
        tmp_path,
    )
    found = read(tmp_path, ("labels", "captions", "text", "alt"))
    names = ["\u9ce5", "cat"]
    assert found.labels == [names[: i % 3] for i in range(COUNT)]
    assert found.captions == [list(row) for row in captions]
    assert [found.text, found.alt] == [list(v) for v in zip(*captions, strict=True)]
    assert found.reader.columns["captions"] == ["text", "alt"]
    assert found.reader.columns["labels"] == "labels"


def test_index_counts_rows_by_split_and_class(tmp_path, write):
    written = write(make_source(), tmp_path)
    stored = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(written))
    assert [s["rows"] for s in stored["shards"]] == [3, 3, 1]
    assert stored["counts"] == {
        "train": {"\u9ce5": 3},
        "validation": {"cat": 2},
        "test": {"ant": 2},
    }
    assert (stored["rows"], stored["read"], stored["dropped"]) == (COUNT, COUNT, {})
    for shard in stored["shards"]:
        path = tmp_path / shard["file"]
        assert path.stat().st_size == shard["bytes"]
        assert files.compute_sha256(str(path)) == shard["sha256"]


def test_tensorflow_reads_the_records(tmp_path, write):
    source = make_source()
    written = write(source, tmp_path)
    paths = [str(tmp_path / shard["file"]) for shard in written["shards"]]
    examples = tf.data.TFRecordDataset(paths).batch(COUNT).get_single_element()
    features = tf.io.parse_example(
        examples,
        {
            "image": tf.io.FixedLenFeature([], tf.string),
            "label_index": tf.io.FixedLenFeature([], tf.int64),
            "width": tf.io.FixedLenFeature([], tf.int64),
        },
    )
    assert features["image"].numpy().tolist() == list(source.images)
    assert features["label_index"].numpy().tolist() == source.labels.tolist()
    assert features["width"].numpy().tolist() == [8] * COUNT


def test_bad_rows_are_dropped_and_named(tmp_path, write):
    images = [encode(8, 6), b"no image", str(tmp_path / "gone.png"), "", encode(4, 4)]
    texts = ["good", "broken", "gone", "", b"caf\xe9"]
    left_out = (LeftOutRow("pairs.csv", 90, "x1", "received 'tset'."),)
    folder = tmp_path / "records"
    written = write(
        make_source(images, texts, left_out=left_out),
        folder,
        make_config(max_drop_rate=0.9),
    )
    assert read(folder, ("id",)).id == ["r0"]
    lines = read_dropped(folder)
    assert [(line["id"], line["row"], line["status"]) for line in lines] == [
        ("x1", 90, "unusable_row"),
        ("r1", 3, "undecodable_image"),
        ("r2", 4, "unreadable_image"),
        ("r3", 5, "missing_input"),
        ("r4", 6, "undecodable_text"),
    ]
    assert lines[2]["reason"] == "The file does not exist."
    assert sum(written["dropped"].values()) == 5
    assert written["read"] == written["rows"] + 5


def test_masked_rows_keep_what_is_left(tmp_path, write):
    images = [encode(8, 6), b"no image", encode(4, 4), b"no image either"]
    texts = ["good", "broken", b"caf\xe9", ""]
    config = make_config(bad_rows="mask", max_drop_rate=0.9)
    written = write(make_source(images, texts), tmp_path, config)
    found = read(tmp_path, ("id", "image", "text", "width"))
    assert found.id == ["r0", "r1", "r2"]
    assert found.image == [images[0], None, images[2]]
    assert found.text == ["good", "broken", ""]
    assert found.width == ["8", "0", "4"]
    assert [line["kept"] for line in read_dropped(tmp_path)] == [True, True, False]
    assert written["masked"] == {"undecodable_image": 1, "undecodable_text": 1}


def test_a_forbidden_row_ends_it(tmp_path, write):
    source = make_source([encode(8, 6), b"no image"])
    with pytest.raises(ValueError, match=r"row 3 \(id r1.*does not decode"):
        write(source, tmp_path, make_config(bad_rows="raise"))
    assert not (tmp_path / "index.json").exists()
    assert not list(tmp_path.glob("*.tfrecord"))


def test_too_many_bad_rows_end_it_and_shards_are_kept(tmp_path, write, writes):
    source = make_source([b"no image", *make_source().images])
    with pytest.raises(ValueError, match=r"1 of 8 rows .*\n.*row 2 \(id r0"):
        write(source, tmp_path)
    with pytest.raises(ValueError, match="was not finished"):
        RecordShards(str(tmp_path))
    writes.clear()
    written = write(source, tmp_path, make_config(max_drop_rate=0.2))
    assert writes == [1, 2]  # the first was kept
    assert written["rows"] == COUNT


def test_written_twice_or_after_a_stop_is_equal(tmp_path, write, writes):
    first, second = tmp_path / "first", tmp_path / "second"
    source = make_source([encode(40, 30, seed=seed) for seed in range(COUNT)])
    write(source, first, max_px=16)
    write(source, second, max_px=16)
    expected = hash_files(first)
    assert hash_files(second) == expected
    # As a kill leaves it: a shard without its report, one in the middle of being
    # written, one damaged later, and no index.
    names = [index.name_shard(number, 3) for number in range(3)]
    (second / index.name_report(names[0])).unlink()
    (second / f".partial-0-{names[0]}").write_bytes(b"half")
    (second / names[2]).write_bytes(b"damaged")
    (second / "index.json").unlink()
    writes.clear()
    write(source, second, max_px=16)
    assert writes == [0, 2]
    assert hash_files(second) == expected


def test_other_rows_or_settings_need_another_folder(tmp_path, write):
    write(make_source(), tmp_path)
    with pytest.raises(ValueError, match="settings: .*512.* -> .*16"):
        write(make_source(), tmp_path, max_px=16)
    with pytest.raises(ValueError, match="fingerprint: "):
        write(make_source(texts=["other"] * COUNT), tmp_path)
    full = tmp_path / "full"
    full.mkdir()
    (full / "photo.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="is not empty"):
        write(make_source(), full)


def test_a_worker_with_other_rows_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "load_source", lambda config: make_source())
    shards._open_source.cache_clear()
    config = pipeline.to_json(make_config())
    job = shards.Job(config, str(tmp_path), "another", 1, 10, 0, 90, 0, "run")
    with pytest.raises(ValueError, match="is not what it was"):
        shards.write_shard(job, 0)


def test_check_finds_what_has_changed(tmp_path, write):
    written = write(make_source(), tmp_path)
    assert "3 shards, 7 rows" in index.check(str(tmp_path))
    path = tmp_path / written["shards"][1]["file"]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    RecordShards(str(tmp_path))  # the sizes are those of the index
    with pytest.raises(ValueError, match=rf"1 of 3 .*\n.*{path.name} has changed"):
        index.check(str(tmp_path))


def test_missing_and_cut_shards_are_found_at_once(tmp_path, write):
    written = write(make_source(), tmp_path)
    path = tmp_path / written["shards"][1]["file"]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=rf"{path.name} has .* bytes, expected"):
        RecordShards(str(tmp_path))
    path.unlink()
    with pytest.raises(ValueError, match=rf"{path.name} cannot be read"):
        RecordShards(str(tmp_path))
    with pytest.raises(ValueError, match="tf_multimodal.data.records has written"):
        RecordShards(str(tmp_path / "nowhere"))


def test_damaged_lengths_and_examples_are_named(tmp_path, write):
    written = write(make_source(), tmp_path, rows_per_shard=COUNT)
    path = tmp_path / written["shards"][0]["file"]
    whole = path.read_bytes()
    path.write_bytes(b"\xff" * 7 + whole[7:])
    with pytest.raises(ValueError, match="ends inside the record at byte 0"):
        list(RecordShards(str(tmp_path)).read_rows(["id"]))
    path.write_bytes(whole[:12] + b"\xff" * 20 + whole[32:])
    (block,) = RecordShards(str(tmp_path)).read_rows(["id"])
    assert block.problems[0].row == 0
    assert len(block.rows) == COUNT - 1


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (encode(64, 32, "JPEG"), (16, 8)),
        (encode(3, 64), (1, 16)),
        (encode(12, 8, "JPEG", orientation=6), (8, 12)),  # small, but not upright
        (encode(64, 32, "JPEG", orientation=6), (8, 16)),
    ],
)
def test_images_are_scaled_and_upright(image, size):
    scaled = scale_image(image, 16, 90, 10**6)
    assert (scaled.width, scaled.height) == size
    result = Image.open(io.BytesIO(scaled.data))
    assert (result.format, result.size) == ("JPEG", size)
    assert not result.getexif()


def test_images_that_are_small_enough_stay_as_they_are():
    image = encode(16, 10)
    assert scale_image(image, 16, 90, 10**6) == (image, 16, 10, "ok", "")
    turned = encode(64, 32, "JPEG", orientation=6)
    assert scale_image(turned, 0, 90, 10**6) == (turned, 32, 64, "ok", "")


def test_scaling_keeps_the_colours_and_quality_counts():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = (200, 40, 90)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    small = scale_image(stream.getvalue(), 30, 95, 10**6).data
    result = np.asarray(Image.open(io.BytesIO(small)), int)
    assert np.abs(result[:, 18:] - (200, 40, 90)).max() < 8
    assert result[:, :12].max() < 8
    noise = encode(64, 64)
    sizes = [len(scale_image(noise, 32, q, 10**6).data) for q in (10, 90)]
    assert sizes[0] < 0.7 * sizes[1]


def test_too_many_pixels_are_not_decoded():
    scaled = scale_image(encode(64, 32), 16, 90, 2000)
    assert (scaled.data, scaled.status) == (b"", "image_too_large")
    assert "64 x 32" in scaled.reason


def test_equal_features_give_equal_bytes_and_keep_their_types():
    features = {f"f{i}": [f"value {i}"] for i in range(20)}
    features |= {"number": [3], "weight": [0.5], "name": ["a\udcff"], "none": []}
    backwards = dict(reversed(features.items()))
    data = make_example(features)
    assert data == make_example(backwards)
    found = parse_example(data)
    assert found["f7"] == [b"value 7"]
    assert found["name"] == [b"a\xff"]
    assert (found["number"], found["weight"], found["none"]) == ([3], [0.5], [])


def test_fine_patterns_are_averaged_not_sampled():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::4] = 255  # every fourth line: a quarter of the light
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    small = scale_image(stream.getvalue(), 16, 95, 10**6).data
    result = np.asarray(Image.open(io.BytesIO(small)), int)
    assert np.abs(result - 255 / 4).max() < 24


def test_records_are_written_to_urls_of_tensorflow(write):
    source = make_source()
    folder = "ram://records/test"
    write(source, folder)
    assert read(folder, ("image",)).image == list(source.images)
    assert "3 shards" in index.check(folder)
    with pytest.raises(ValueError, match="does not write to this scheme"):
        write(source, "memory://records/test")


def test_a_source_is_what_it_was_after_the_round_trip(tmp_path, write):
    load_source = sources.load_source  # `write` replaces it
    source = make_source(classes=("ant", "cat", "\u9ce5"))
    written = write(source, tmp_path / "records")
    config = make_config(manifest="", records=str(tmp_path / "records"))
    config.cache_dir = str(tmp_path / "cache")
    config.data.columns.update(
        {k: tuple(v) if k == "captions" else v for k, v in written["columns"].items()}
    )
    found = load_source(config)
    assert found.classes == source.classes
    for name in ("ids", "texts", "groups", "splits", "images"):
        assert list(getattr(found, name)) == list(getattr(source, name)), name
    assert found.labels.tolist() == source.labels.tolist()
    assert found.weights.tolist() == source.weights.tolist()
