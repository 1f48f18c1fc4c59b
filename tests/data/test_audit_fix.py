import csv
import json

import audit_samples
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tf_multimodal.config import get_default_config
from tf_multimodal.data.audit import checkup, fixed_manifest

GOOD = 24


def write_manifest(folder, header, rows, name="pairs.csv"):
    path = folder / name
    lines = [header, *rows]
    text = "\n".join(",".join(line) for line in lines) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def read_table(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def manifest(tmp_path):
    """24 good rows, one nearly the same as the first, and one of each trouble."""
    for number in range(GOOD):
        image = audit_samples.encode(audit_samples.make_pixels(number))
        (tmp_path / f"{number}.png").write_bytes(image)
    near = audit_samples.encode(audit_samples.make_pixels(0, 96, 128), "JPEG")
    (tmp_path / "near.jpg").write_bytes(near)
    (tmp_path / "broken.png").write_bytes(image[:200])
    rows = [
        (f"{i}.png", f"text {i}", ("bird", "cat")[i % 2], f"note {i}")
        for i in range(GOOD)
    ]
    rows += [
        ("near.jpg", "nearly the first", "bird", "caf\udce9"),  # row 26, kept
        ("gone.png", "a", "bird", ""),
        ("broken.png", "b", "cat", ""),
        ("3.png", "text  3", "cat", "again"),
        ("", "", "bird", ""),
        ("5.png", "caf\udce9", "cat", ""),
        ("6.png", "c", "", ""),
        ("../7.png", "d", "cat", ""),
    ]
    return write_manifest(tmp_path, ("file", "caption", "class", "note"), rows)


def make_config(path):
    config = get_default_config()
    config.data.manifest = str(path)
    config.data.columns.image = "file"
    config.data.columns.text = "caption"
    config.data.columns.label = "class"
    config.cache_dir = str(path.parent / "cache")
    config.model.modalities = "image_text"
    config.model.text.vocabulary = "learn"
    return config


def audit(config):
    return checkup.audit_source(config, checkup.load_audited_source(config))


def fix(config):
    return fixed_manifest.ManifestCleaner(config).write(audit(config))


def list_written(folder):
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if "fixed" in name or "removed" in name]


def test_each_bad_row_is_removed_with_its_reason_and_counts_add_up(manifest):
    before = manifest.read_bytes()
    result = fix(make_config(manifest))
    assert manifest.read_bytes() == before
    kept, removed = read_table(result.path), read_table(result.removed_path)
    assert result.path == manifest.with_name("pairs.fixed.csv")
    assert result.removed_path == manifest.with_name("pairs.removed.csv")
    assert (len(kept), len(removed)) == (result.kept, result.removed) == (25, 7)
    reasons = {int(row["row"]): row["reason"] for row in removed}
    assert sorted(reasons) == [27, 28, 29, 30, 31, 32, 33]
    assert "does not exist" in reasons[27]
    assert "does not decode" in reasons[28]
    assert reasons[29] == "Row 5 has the same image, text and label."
    assert "neither" in reasons[30]
    assert "UTF-8" in reasons[31]
    assert "empty" in reasons[32]
    assert "leads out" in reasons[33]


def test_cells_stay_as_they_are_and_split_and_group_come_behind(manifest):
    kept = read_table(fix(make_config(manifest)).path)
    assert list(kept[0]) == ["file", "caption", "class", "note", "split", "group"]
    assert [row["file"] for row in kept] == [
        *(f"{i}.png" for i in range(GOOD)),
        "near.jpg",
    ]
    assert kept[-1]["note"] == "caf\udce9"  # not a text of ours: left alone
    assert {row["split"] for row in kept} == {"train", "validation", "test"}


def test_near_duplicates_share_group_and_split(manifest):
    kept = read_table(fix(make_config(manifest)).path)
    assert kept[0]["group"] == kept[-1]["group"]
    assert kept[0]["split"] == kept[-1]["split"]
    assert len({row["group"] for row in kept}) == GOOD


def test_fixed_manifest_loads_without_a_bad_row_or_a_leak(manifest):
    result = fix(make_config(manifest))
    config = make_config(result.path)
    config.data.columns.split = result.split_column
    config.data.columns.group = result.group_column
    source = checkup.load_audited_source(config)
    assert (len(source), source.left_out) == (25, ())
    groups = checkup.audit_source(config, source).summary["image_groups"]
    assert (groups["groups"], groups["groups_across_splits"]) == (1, 0)


def test_given_splits_stay_but_for_groups_that_cross_them(manifest, tmp_path):
    rows = read_table(manifest)[: GOOD + 1]
    splits = ["test", *["train", "validation", "test"] * 8][:GOOD] + ["validation"]
    path = write_manifest(
        tmp_path,
        ("file", "caption", "class", "split", "part"),
        [
            (row["file"], row["caption"], row["class"], "mine", split)
            for row, split in zip(rows, splits, strict=True)
        ],
        "given.csv",
    )
    config = make_config(path)
    config.data.columns.split = "part"
    kept = read_table(fix(config).path)
    # Rows 0 (test) and 24 (validation) are one group.
    assert [row["part"] for row in kept] == ["validation", *splits[1:]]
    assert list(kept[0])[-2:] == ["part", "group"]
    assert {row["split"] for row in kept} == {"mine"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"manifest": "", "folder": "photos"}, "config.data.manifest is not set"),
        ({"manifest": "*.csv"}, "2 files"),
    ],
)
def test_sources_that_are_no_single_manifest_are_refused(manifest, change, message):
    write_manifest(manifest.parent, ("a",), [], "other.csv")
    config = make_config(manifest)
    if "*" in change.get("manifest", ""):
        change = {"manifest": str(manifest.parent / change["manifest"])}
    config.data.update(change)
    with pytest.raises(ValueError, match=message):
        fixed_manifest.ManifestCleaner(config)


def test_manifest_that_changed_meanwhile_leaves_nothing_behind(manifest):
    config = make_config(manifest)
    cleaner = fixed_manifest.ManifestCleaner(config)
    found = audit(config)
    # As many rows as before, in another order.
    header, *rows = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join([header, *reversed(rows)]))
    with pytest.raises(ValueError, match="has changed since the audit began"):
        cleaner.write(found)
    assert not list_written(manifest.parent)


def test_manifest_that_changes_while_it_is_written_leaves_nothing_behind(manifest):
    cleaner = fixed_manifest.ManifestCleaner(make_config(manifest))
    found = audit(make_config(manifest))
    read_rows = cleaner._file.read_rows

    def read_and_change():
        yield from read_rows()
        manifest.write_bytes(manifest.read_bytes() + b"1.png,more,cat,\n")

    cleaner._file.read_rows = read_and_change
    with pytest.raises(ValueError, match="has changed since the audit began"):
        cleaner.write(found)
    assert not list_written(manifest.parent)


@pytest.mark.parametrize("name", ["pairs.fixed.csv", "pairs.removed.csv"])
def test_files_of_an_earlier_run_stay_unless_told(manifest, name):
    config = make_config(manifest)
    manifest.with_name(name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} is there already"):
        fixed_manifest.ManifestCleaner(config)
    assert manifest.with_name(name).read_text() == "mine"
    cleaner = fixed_manifest.ManifestCleaner(config, overwrite=True)
    assert cleaner.write(audit(config)).kept == 25


def test_rows_that_the_class_map_leaves_out_are_named(manifest, tmp_path):
    (tmp_path / "map.csv").write_text("label,class\ndog,\nbird,wings\ncat,paws\n")
    with manifest.open("a") as file:
        file.write("1.png,a dog,dog,\n2.png,two dogs,dog,\n")
    config = make_config(manifest)
    config.data.class_map = str(tmp_path / "map.csv")
    found = audit(config)
    assert found.summary["source"]["rows_read"] == 34
    assert found.summary["source"]["excluded_by_class_map"] == 2
    result = fixed_manifest.ManifestCleaner(config).write(found)
    assert (result.kept, result.removed) == (25, 9)
    removed = read_table(result.removed_path)
    assert len(removed) == 9
    assert {**removed[-2]} == {
        "row": "34",
        "id": "",
        "file": "1.png",
        "reason": f"{tmp_path / 'map.csv'} leaves rows of the label 'dog' out.",
    }
    assert len(read_table(result.path)) == 25


def make_list_rows():
    """24 rows with lists of labels and captions, one of them again, and a bad one."""
    rows = [
        {
            "file": f"{i}.png",
            "titles": [f"text {i}", f"title {i}"],
            "classes": ["bird", "cat"][: 1 + i % 2],
            "size": i * 1.5,
        }
        for i in range(GOOD)
    ]
    return [*rows, rows[3], {**rows[4], "file": "gone.png"}]


def make_list_config(path):
    config = make_config(path)
    config.data.columns.text = config.data.columns.label = ""
    config.data.columns.labels = "classes"
    config.data.columns.captions = ("titles",)
    return config


def test_json_lines_keep_lists_and_numbers(manifest):
    path = manifest.with_name("lists.jsonl")
    rows = make_list_rows()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n")
    result = fix(make_list_config(path))
    assert result.path == manifest.with_name("lists.fixed.jsonl")
    kept = [json.loads(line) for line in result.path.read_text().splitlines()]
    assert [{key: row[key] for key in rows[0]} for row in kept] == rows[:GOOD]
    assert {row["split"] for row in kept} == {"train", "validation", "test"}
    removed = read_table(manifest.with_name("lists.removed.csv"))
    assert [row["row"] for row in removed] == ["25", "26", "27"]
    assert "not JSON" in removed[2]["reason"]
    config = make_list_config(result.path)
    config.data.columns.split, config.data.columns.group = "split", "group"
    source = checkup.load_audited_source(config)
    assert (len(source), source.left_out) == (GOOD, ())


def test_parquet_keeps_types_and_images(manifest):
    rows = [
        {**row, "file": manifest.with_name(row["file"]).read_bytes(), "group": number}
        for number, row in enumerate(make_list_rows()[:-1])
    ]
    path = manifest.with_name("lists.parquet")
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path)
    config = make_list_config(path)
    config.data.image_encoding = "bytes"
    config.data.columns.group = "group"
    result = fix(config)
    new = pq.read_table(result.path)
    names = ["file", "titles", "classes", "size"]
    assert new.select(names).equals(table.select(names)[:GOOD])
    assert new.column_names == [*names, "group", "split"]
    assert result.removed == 1


@pytest.mark.slow
def test_command_writes_report_and_fixed_manifest(manifest, run_command, tmp_path):
    config = tmp_path / "settings.py"
    config.write_text(
        "from tf_multimodal.config import get_default_config\n"
        "def get_config():\n    return get_default_config()\n"
    )
    arguments = (
        "-m",
        "tf_multimodal.data.audit",
        f"--config={config}",
        f"--config.data.manifest={manifest}",
        "--config.data.columns.image=file",
        "--config.data.columns.text=caption",
        "--config.data.columns.label=class",
        f"--config.cache_dir={tmp_path / 'cache'}",
        f"--output={tmp_path / 'audit'}",
        "--fix",
    )
    result = run_command(*arguments)
    assert "Of 32 rows 25 are in" in result.stdout
    assert (tmp_path / "audit" / "audit.html").is_file()
    assert (tmp_path / "audit" / "audit.json").is_file()
    assert "100%" in result.stderr
    result = run_command(*arguments, expect=1)
    assert "pairs.fixed.csv is there already" in result.stderr.splitlines()[-1]
    assert "rows/s" not in result.stderr and "Rows:" not in result.stderr  # not audited
    result = run_command(*arguments, "--overwrite")
    assert "Of 32 rows 25 are in" in result.stdout
    result = run_command(*arguments, "--config.data.manifest=gone.csv", expect=1)
    assert result.stderr.strip().splitlines()[-1].startswith("Error: There is no file")
    assert "Traceback" not in result.stderr


def test_moved_groups_go_to_the_first_split_that_they_have():
    source = audit_samples.make_source(
        [""] * 4, ["a", "b", "c", "d"], splits=["test", "validation", "test", "train"]
    )
    config = get_default_config()
    config.data.columns.split = "split"
    groups = audit_samples.make_column(["g", "g", "h", "h"])
    splits = fixed_manifest._split_rows(config, source, groups, np.arange(4))
    assert splits.tolist() == ["validation", "validation", "train", "train"]
