"""The example of every source in docs/data.md, run as it stands there."""

import base64
import csv
import io
import json
import pathlib
import re
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tf_multimodal.config import SOURCES, get_default_config

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "data.md"
SECTION = re.compile(r"^#{2,3} (.+)$")
MOST_LINES = 5
ROWS = 24
CLASSES = ("cat", "dog")


def list_blocks() -> list[tuple[str, str]]:
    """Returns heading and text of each block of Python."""
    blocks, heading, lines = [], "", None
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if lines is not None:
                blocks.append((heading, "\n".join(lines)))
            lines = [] if line == "```python" else None
        elif lines is not None:
            lines.append(line)
        elif match := SECTION.match(line):
            heading = match[1]
    return blocks


BLOCKS = list_blocks()
EXAMPLES = [b for b in BLOCKS if re.search(r"^source = ", b[1], re.MULTILINE)]
(PREAMBLE,) = [text for _, text in BLOCKS if "config = get_default_config()" in text]


def encode_picture(number: int) -> bytes:
    pixels = np.random.RandomState(number).randint(0, 256, (12, 12, 3), np.uint8)
    return tf.io.encode_png(pixels).numpy()


IMAGES = [encode_picture(i) for i in range(ROWS)]
TEXTS = [f"number {i} caf\u00e9" for i in range(ROWS)]
LABELS = [CLASSES[i % 2] for i in range(ROWS)]


def write_tables(folder: pathlib.Path) -> None:
    rows = [
        {"file": f"photos/{i}.png", "caption": text, "class": label}
        for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            print(json.dumps(row | {"meta": {"title": row["caption"]}}), file=file)
    table = pa.table({"jpg": IMAGES, "text": TEXTS, "label": LABELS})
    pq.write_table(table.slice(0, 10), folder / "pairs-0.parquet")
    pq.write_table(table.slice(10), folder / "pairs-1.parquet")


def write_folders(folder: pathlib.Path) -> None:
    (folder / "photos").mkdir()
    (folder / "shards").mkdir()
    for i, image in enumerate(IMAGES):
        (folder / f"photos/{i}.png").write_bytes(image)
        place = folder / "flowers" / LABELS[i] / str(i)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".png").write_bytes(image)
        place.with_suffix(".txt").write_text(TEXTS[i], encoding="utf-8")
    for shard in (0, 1):
        with tarfile.open(folder / f"shards/{shard}.tar", "w") as tar:
            for i in range(shard, ROWS, 2):
                meta = json.dumps({"class": LABELS[i]})
                members = {"png": IMAGES[i], "txt": TEXTS[i], "json": meta}
                for suffix, data in members.items():
                    content = data if isinstance(data, bytes) else data.encode()
                    member = tarfile.TarInfo(f"{i:05}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def write_hugging_face(folder: pathlib.Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "caption": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(CLASSES)),
        }
    )
    images = [{"bytes": image, "path": None} for image in IMAGES]
    columns = {"image": images, "caption": TEXTS, "label": LABELS}
    rows = datasets.Dataset.from_dict(columns, features=features)
    places = {"train": (0, 16), "validation": (16, 20), "test": (20, 24)}
    splits = {name: rows.select(range(*place)) for name, place in places.items()}
    datasets.DatasetDict(splits).save_to_disk(folder / "saved_pairs")


def write_records(folder: pathlib.Path) -> None:
    from tf_multimodal.data.records import pipeline, shards

    def write_shards(job, numbers, beam_flags):
        """What Beam's workers do, without them."""
        for number in numbers:
            shards.write_shard(job, number)

    config = get_default_config()
    config.cache_dir = str(folder / "data")
    config.data.folder = str(folder / "flowers")
    config.data.columns.text = "txt"
    config.data.columns.id = "id"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run_pipeline", write_shards)
        pipeline.write_records(config, str(folder / "records"), pipeline.Settings())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same pairs in every form that the examples name."""
    folder = tmp_path_factory.mktemp("sources")
    write_tables(folder)
    write_folders(folder)
    write_hugging_face(folder)
    write_records(folder)
    return folder


def run_example(text: str):
    columns = {"image": "png", "text": "txt", "label": "json.class"}
    names = {"tf": tf, "images": IMAGES, "texts": TEXTS, "columns": columns}
    exec(f"{PREAMBLE}\n{text}", names)
    return names["source"]


@pytest.mark.parametrize("heading, text", EXAMPLES, ids=[h for h, _ in EXAMPLES])
def test_an_example_reads_the_rows(folder, monkeypatch, heading, text):
    assert len([line for line in text.splitlines() if line]) <= MOST_LINES
    monkeypatch.chdir(folder)
    source = run_example(text)
    assert not source.left_out
    assert set(source.splits) == {"train", "validation", "test"}
    if "shapes" in text:
        assert len(source) == 480 and len(source.classes) == 6
        return
    assert source.classes == CLASSES
    assert sorted(source.texts) == sorted(TEXTS * (1 + len(source.parts[1:])))
    for i in range(len(source)):
        row = TEXTS.index(source.texts[i])
        assert source.classes[source.labels[i]] == LABELS[row]
        image = source.images[i]
        if isinstance(image, str):
            image = pathlib.Path(image).read_bytes()
        assert image == IMAGES[row] or "read_dataset" in text


def test_every_source_has_an_example():
    text = "\n".join(text for _, text in EXAMPLES)
    for key in (*SOURCES, "mixture"):
        assert f"config.data.{key}" in text, key
    for suffix in ("csv", "jsonl", "parquet"):
        assert suffix in text
    assert "read_dataset(" in text


def test_images_in_base64_are_read(folder, monkeypatch):
    """As docs/data.md says of JSON lines, without an example of its own."""
    monkeypatch.chdir(folder)
    rows = [
        {"image": base64.b64encode(IMAGES[i]).decode(), "text": t, "label": LABELS[i]}
        for i, t in enumerate(TEXTS)
    ]
    (folder / "inline.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = run_example(
        "config.data.manifest = 'inline.jsonl'\n"
        "config.data.image_encoding = 'base64'\n"
        "source = load_source(config)"
    )
    assert list(source.images) == IMAGES
