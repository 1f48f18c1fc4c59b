"""Class folders as rows."""

import json

import fsspec
import pytest

from tf_multimodal.data.readers.class_folders import ClassFolders


def fill(root, names: dict[str, bytes]) -> ClassFolders:
    for name, data in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return ClassFolders(str(root))


def read_all(reader, columns):
    blocks = list(reader.read_rows(columns))
    values = {c: [v for block in blocks for v in block.values[c]] for c in columns}
    return values, [p for block in blocks for p in block.problems]


def test_a_class_a_folder_with_captions_beside(tmp_path):
    reader = fill(
        tmp_path,
        {
            "tulip/b.JPG": b"2",
            "tulip/a.png": b"1",
            "tulip/a.txt": "rote Tulpe \u2740\n".encode(),
            "tulip/deep/c.webp": b"3",
            "\u6843/a.gif": b"4",
            "\u6843/a.json": json.dumps({"caption": "peach", "by": {"n": 1}}).encode(),
            ".hidden/a.png": b"",
            "tulip/.DS_Store": b"",
        },
    )
    columns = ["image", "label", "id", "txt", "json.caption", "json.by", "json.by.n"]
    assert sorted(reader.list_columns()) == sorted(columns)
    values, problems = read_all(reader, columns)
    assert values == {
        "image": ["tulip/a.png", "tulip/b.JPG", "tulip/deep/c.webp", "\u6843/a.gif"],
        "label": ["tulip", "tulip", "tulip", "\u6843"],
        "id": ["tulip/a", "tulip/b", "tulip/deep/c", "\u6843/a"],
        "txt": ["rote Tulpe \u2740", None, None, None],
        "json.caption": [None, None, None, "peach"],
        "json.by": [None, None, None, '{"n": 1}'],
        "json.by.n": [None, None, None, "1"],
    }
    assert not problems
    assert reader.name == tmp_path.name


def test_split_folders_above_the_class_folders(tmp_path):
    names = ["train/x/1.png", "train/y/2.png", "val/x/3.png", "test/y/4.png"]
    reader = fill(tmp_path, dict.fromkeys(names, b""))
    assert reader.list_columns() == ["image", "label", "id", "split"]
    values, _ = read_all(reader, ["label", "split"])
    assert values["label"] == ["y", "x", "y", "x"]
    assert values["split"] == ["test", "train", "train", "val"]


def test_a_class_that_is_called_as_a_split_is_stays_a_class(tmp_path):
    reader = fill(tmp_path, {"test/1.png": b"", "exam/2.png": b""})
    assert "split" not in reader.list_columns()
    assert read_all(reader, ["label"])[0] == {"label": ["exam", "test"]}


def test_what_is_no_row_is_named(tmp_path):
    reader = fill(
        tmp_path / "root",
        {
            "stray.png": b"",
            "x/a.png": b"",
            "x/b.txt": b"alone",
            "x/c.psd": b"",
            "x/d.png": b"",
            "x/d.json": b"{",
            "x/e.png": b"",
        },
    )
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root/x/e.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "root/y").symlink_to(tmp_path / "root/x")
    values, problems = read_all(reader, ["id", "txt", "json.caption"])
    assert values["id"] == ["x/a"]
    reasons = [problem.reason for problem in problems]
    assert len({problem.row for problem in problems}) == len(problems) == 6
    for part in (
        "stray.png is in no class folder",
        "x/b.txt has no image beside it",
        "x/c.psd is neither an image",
        "x/d.json: not JSON",
        "'x/e.txt', a symbolic link that leads out",
        "y is a link to a folder",
    ):
        assert sum(part in reason for reason in reasons) == 1, part


def test_a_caption_that_is_not_utf8_stays_bytes(tmp_path):
    reader = fill(tmp_path, {"x/a.png": b"", "x/a.txt": b"caf\xe9"})
    assert read_all(reader, ["txt"])[0] == {"txt": [b"caf\xe9"]}


def test_a_folder_behind_a_url():
    for name in ("x/a.png", "x/a.txt", "y/b.png"):
        with fsspec.open(f"memory://flowers/{name}", "wb") as file:
            file.write(b"text")
    reader = ClassFolders("memory://flowers")
    values, problems = read_all(reader, ["image", "label", "txt"])
    assert values == {
        "image": ["x/a.png", "y/b.png"],
        "label": ["x", "y"],
        "txt": ["text", None],
    }
    assert not problems
    assert len(reader.compute_fingerprint()) == 64


def test_the_fingerprint_follows_captions(tmp_path):
    reader = fill(tmp_path, {"x/a.png": b"", "x/a.txt": b"short"})
    before = reader.compute_fingerprint()
    fill(tmp_path, {"x/a.txt": b"longer text"})
    assert reader.compute_fingerprint() != before


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none, which config\.data\.folder names"):
        ClassFolders(str(tmp_path / "none")).list_columns()
