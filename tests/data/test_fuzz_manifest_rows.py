"""Manifests of damaged rows: each row is trained on or named, and none vanishes.

Cells and whole lines are drawn by hypothesis from a corpus of what goes wrong.
"""

import collections
import csv
import io
import json

import image_samples
import pytest
from fuzz_samples import draw_blocks, train_one_pass
from hypothesis import strategies as st

from tf_multimodal.data import spec
from tf_multimodal.data.sources import load_source

HEADER = ("id", "image", "text", "label", "split", "weight")
BLOCK = 50  # rows that hypothesis draws at once
NO_UTF8 = b"caf\xe9".decode("utf-8", "surrogateescape")
TEXTS = (
    "a red cat",
    "",
    "  ",
    '"',
    "a,b",
    "a\nb",
    "a\r\nb",
    "猫 и",
    "\0",
    "\x07",
    "=1",
)
IMAGES = ("0.png", "1.png", "sub/2.png", "", " ", "gone.png", "broken.png", "sub", ".")
OUTSIDE = ("../out.png", "/etc/hostname", "link.png", "linked/out.png", "a\0b", "~/a")
URLS = ("http://127.0.0.1:9/a.png", "file:///etc/hostname", "s3://none/a.png")
LABELS = ("cat", "dog", "", " ", "кошка")
SPLITS = ("train", "val", "TEST", "", "trian", "0")
WEIGHTS = ("1", "0.5", "0", "-1", "nan", "inf", "", "1e999", "one", "٣", "1_0")
NO_OBJECTS = ("{", "[]", "null", "1", '{"id": 1', '"a"', "\ufeff{}", "{}x", "nan")


def choose(usual, *others):
    """Mostly the usual cell, so that rows survive; else of a corpus, or any text."""
    odd = st.one_of(
        *map(st.sampled_from, others), st.text(max_size=8), st.just(NO_UTF8)
    )
    return st.integers(0, 9).flatmap(lambda n: st.just(usual) if n else odd)


CELLS = st.tuples(
    choose("0.png", ("broken.png", "gone.png"), IMAGES, OUTSIDE, URLS),
    choose("a red cat", TEXTS),
    choose("cat", LABELS),
    choose("train", SPLITS),
    choose("1", WEIGHTS),
)
# A row is its cells, or a number of cells that is not the header's.
ROWS = st.one_of(CELLS, CELLS, CELLS, CELLS, st.integers(1, 9).filter(lambda n: n != 6))


def write_images(folder):
    picture = image_samples.save(image_samples.make_pixels(), "PNG")
    (folder / "data" / "sub").mkdir(parents=True)
    for name in ("0.png", "1.png", "sub/2.png", "../out.png"):
        (folder / "data" / name).write_bytes(picture)
    (folder / "data" / "broken.png").write_bytes(picture[:60])
    (folder / "data" / "link.png").symlink_to(folder / "out.png")
    (folder / "data" / "linked").symlink_to(folder)


def write_csv(folder, rows):
    path = folder / "data" / "pairs.csv"
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(HEADER)
    for number, row in enumerate(rows):
        cells = row if isinstance(row, tuple) else ("x",) * (row - 1)
        writer.writerow((f"r{number}", *cells))
    path.write_bytes(stream.getvalue().encode("utf-8", "surrogateescape"))
    return path


def write_jsonl(folder, rows):
    path = folder / "data" / "pairs.jsonl"
    lines = [json.dumps(dict.fromkeys(HEADER, "x") | {"id": "first"})]  # the columns
    for number, row in enumerate(rows):
        if isinstance(row, tuple):
            values = dict(zip(HEADER, (f"r{number}", *row), strict=True))
            # Without escapes a cell that is no UTF-8 makes the line none.
            lines.append(json.dumps(values, ensure_ascii=number % 2 == 0))
        else:
            lines.append(NO_OBJECTS[row % len(NO_OBJECTS)])
    text = "\n".join(lines) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def load(path, config, tmp_path, policy):
    config.data.manifest = str(path)
    config.cache_dir = str(tmp_path / "cache")
    config.data.bad_rows, config.data.max_drop_rate = policy, 1.0
    for role in ("id", "split", "weight"):
        config.data.columns[role] = role
    return load_source(config)


def check_rows(write, blocks, config, make_preprocessor, tmp_path, policy):
    rows = draw_blocks(ROWS, blocks, BLOCK)
    write_images(tmp_path)
    path = write(tmp_path, rows)
    source = load(path, config, tmp_path, policy)
    num_rows = len(rows) + (path.suffix == ".jsonl")
    assert len(source) + len(source.left_out) == num_rows
    read = [*source.rows.tolist(), *(row.row for row in source.left_out)]
    assert len(set(read)) == num_rows
    assert all(row.reason for row in source.left_out)
    picked = source.get_indices("train")
    picked = picked[source.weights[picked] > 0]
    trained, named = train_one_pass(
        source, picked, config, make_preprocessor(), tmp_path / "dropped.jsonl"
    )
    unusable = [line["row"] for line in named if line["status"] not in spec.STATUSES]
    assert sorted(unusable) == sorted(row.row for row in source.left_out)
    places = {source.ids[index]: index for index in picked.tolist()}
    bad = [line for line in named if line["status"] in spec.STATUSES]
    bad_rows = {places[line["id"]] for line in bad}
    assert trained.keys() | bad_rows == set(picked.tolist())
    assert len(bad_rows) == len(bad)  # each is named once
    if policy == "drop":
        assert not trained.keys() & bad_rows
    assert all(line["reason"] for line in named)
    return (
        len(rows),
        len(trained),
        collections.Counter(line["status"] for line in named),
        len(unusable),
    )


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
@pytest.mark.parametrize("policy", ["drop", "mask"])
def test_each_damaged_row_is_trained_on_or_named(
    write, policy, config, make_preprocessor, tmp_path
):
    written, trained, _, unusable = check_rows(
        write, 6, config, make_preprocessor, tmp_path, policy
    )
    assert written >= 250
    assert trained > 50 and unusable > 50


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_each_of_10000_damaged_rows_is_trained_on_or_named(
    write, config, make_preprocessor, tmp_path
):
    written, trained, named, unusable = check_rows(
        write, 202, config, make_preprocessor, tmp_path, "drop"
    )
    assert written >= 10_000
    assert trained > 3_000 and unusable > 2_000
    assert named[spec.UNREADABLE_IMAGE] > 0 and named[spec.UNDECODABLE_IMAGE] > 0
