"""WebDataset shards as rows."""

import io
import json
import tarfile

import pytest

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import ByteRange
from tf_multimodal.data.readers.webdataset import WebDataset

PICTURE = b"\xff\xd8picture"


def write_tar(path, members: dict[str, bytes], mode: str = "w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def read_all(reader, columns):
    blocks = list(reader.read_rows(columns))
    values = {c: [v for block in blocks for v in block.values[c]] for c in columns}
    return values, [p for block in blocks for p in block.problems]


def get_images(values):
    return [files.read_range(*place) for place in values]


def test_files_of_a_sample_are_a_row(tmp_path):
    meta = {"caption": "a red cat", "label": 7, "exif": {"make": "k"}}
    write_tar(
        tmp_path / "00000.tar",
        {
            "000.jpg": PICTURE,
            "000.txt": b"a cat\n",
            "000.json": json.dumps(meta).encode(),
            "__meta__.txt": b"",
            "001.PNG": b"\x89PNG",
            "in/001.cls": b"3",
            "in/001.jpg": b"other",
            "in/001.seg.png": b"mask",
        },
    )
    reader = WebDataset(str(tmp_path / "*.tar"))
    names = reader.list_columns()
    assert {"__key__", "jpg", "png", "txt", "cls", "seg.png", "json.caption"} < set(
        names
    )
    assert "json.exif.make" in names
    columns = ["__key__", "jpg;png", "txt", "cls", "json.label", "json.exif.make"]
    values, problems = read_all(reader, columns)
    assert values["__key__"] == ["000", "001", "in/001"]
    assert values["txt"] == ["a cat", None, None]
    assert values["cls"] == [None, None, "3"]
    assert values["json.label"] == ["7", None, None]
    assert values["json.exif.make"] == ["k", None, None]
    assert all(isinstance(place, ByteRange) for place in values["jpg;png"])
    assert get_images(values["jpg;png"]) == [PICTURE, b"\x89PNG", b"other"]
    assert not problems


def test_several_shards_are_read_in_order(tmp_path):
    for name in ("b", "a"):
        write_tar(tmp_path / f"{name}.tar", {f"{name}.jpg": name.encode()})
    blocks = list(WebDataset(str(tmp_path / "*.tar")).read_rows(["jpg"]))
    assert [(b.file, b.rows) for b in blocks] == [
        (str(tmp_path / "a.tar"), [0]),
        (str(tmp_path / "b.tar"), [0]),
    ]


def test_a_sample_that_cannot_be_used_is_named(tmp_path):
    tar = write_tar(
        tmp_path / "a.tar",
        {
            "0.jpg": PICTURE,
            "1.txt": b"no image",
            "2.jpg": PICTURE,
            "2.json": b"{",
            "3.jpg": PICTURE,
            "3.JPG": PICTURE,
            "noname": b"",
            "4.jpg": PICTURE,
        },
    )
    with tarfile.open(tar, "a") as archive:
        link = tarfile.TarInfo("5.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    columns = ["__key__", "jpg", "json.caption"]
    values, problems = read_all(WebDataset(str(tar)), columns)
    assert values["__key__"] == ["0", "4"]
    reasons = {problem.row: problem.reason for problem in problems}
    assert len(reasons) == len(problems) == 5
    for part in (
        "sample 1: there is no file .jpg. It has: txt",
        "sample 2: not JSON",
        "sample 3 has two files .jpg",
        "noname in",
        "5.jpg in",
    ):
        assert sum(part in reason for reason in reasons.values()) == 1, part


def cut_in_a_member(data):
    return data[: 512 + 300]


def cut_between_members(data):
    return data[: 2 * (512 + 1024)]


def cut_in_a_header(data):
    return data[: 2 * (512 + 1024) + 100]


def damage_a_header(data):
    start = 2 * (512 + 1024)
    return data[:start] + b"x" * 512 + data[start + 512 :]


@pytest.mark.parametrize(
    "damage, keys",
    [
        (cut_in_a_member, []),
        (cut_between_members, ["0"]),
        (cut_in_a_header, ["0"]),
        (damage_a_header, ["0"]),
        (lambda data: b"", []),
        (lambda data: b"<html>not found</html>" * 99, []),
    ],
)
def test_a_damaged_shard_is_named_and_the_next_one_read(tmp_path, damage, keys):
    pictures = {f"{i}.jpg": bytes([i]) * 1024 for i in range(4)}
    tar = write_tar(tmp_path / "a.tar", pictures)
    tar.write_bytes(damage(tar.read_bytes()))
    write_tar(tmp_path / "b.tar", {"next.jpg": PICTURE})
    values, problems = read_all(WebDataset(str(tmp_path / "*.tar")), ["__key__", "jpg"])
    assert values["__key__"] == [*keys, "next"]
    (problem,) = problems
    assert "a.tar is damaged" in problem.reason


def test_a_compressed_shard_is_refused(tmp_path):
    write_tar(tmp_path / "a.tar.gz", {"0.jpg": PICTURE}, "w:gz")
    with pytest.raises(ValueError, match="gunzip .*a.tar.gz"):
        read_all(WebDataset(str(tmp_path / "a.tar.gz")), ["jpg"])


def test_images_that_were_not_fetched_are_counted(tmp_path, capsys):
    for number, lost in enumerate((3, 1)):
        write_tar(tmp_path / f"0000{number}.tar", {"0.jpg": PICTURE})
        counts = {"success": 1, "HTTP Error 404: Not Found": lost}
        stats = {"count": 1 + lost, "successes": 1, "status_dict": counts}
        (tmp_path / f"0000{number}_stats.json").write_text(json.dumps(stats))
    read_all(WebDataset(str(tmp_path / "*.tar")), ["jpg"])
    assert capsys.readouterr().out == (
        "img2dataset fetched 2 of 6 images. Not: 4 HTTP Error 404: Not Found.\n"
    )


def test_no_shard_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\*\.tar"):
        WebDataset(str(tmp_path / "none*.tar"))
