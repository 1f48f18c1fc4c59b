"""Files of every kind of path, and paths that must not leave their folder."""

import io
import os
import sys
import types

import fsspec
import pytest
import tensorflow as tf

from tf_multimodal.data import files


def write_file(path: str, data: bytes) -> None:
    if path.startswith("ram://"):
        if tf.io.gfile.exists(path):  # opened to be written, it would be appended to
            tf.io.gfile.remove(path)
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(data)
    else:
        with fsspec.open(path, "wb", auto_mkdir=True) as file:
            file.write(data)


@pytest.fixture(params=["", "ram:/", "memory:/"])
def folder(request, tmp_path):
    """A folder of each kind with a.csv and b.csv, and inner/c.txt."""
    root = request.param + str(tmp_path)
    if root.startswith("ram://"):
        tf.io.gfile.makedirs(f"{root}/inner")
    write_file(f"{root}/b.csv", b"second")
    write_file(f"{root}/a.csv", b"one\ntwo\n")
    write_file(f"{root}/inner/c.txt", b"third")
    return root


def test_every_kind_of_path_is_listed_and_read(folder):
    assert files.list_folder(folder) == ["a.csv", "b.csv", "inner"]
    assert [files.is_file(f"{folder}/{n}") for n in ("a.csv", "inner", "none")] == [
        True,
        False,
        False,
    ]
    assert files.is_folder(f"{folder}/inner")
    assert not files.is_folder(f"{folder}/a.csv")
    first, second = files.list_files(f"{folder}/*.csv")
    assert files.read_file(first) == b"one\ntwo\n"
    assert files.read_file(second) == b"second"
    assert files.list_files(f"{folder}/a.csv") == [f"{folder}/a.csv"]


def test_a_part_of_a_file_is_read_and_lines_are_iterated(folder):
    assert files.read_range(f"{folder}/a.csv", 4, 3) == b"two"
    assert files.read_range(f"{folder}/a.csv", 4, 300) == b"two\n"
    with files.open_file(f"{folder}/a.csv") as file:
        assert list(io.TextIOWrapper(file)) == ["one\n", "two\n"]


def test_a_missing_file_is_an_os_error(folder):
    with pytest.raises(FileNotFoundError):
        files.read_file(f"{folder}/none.csv")
    with pytest.raises(FileNotFoundError):
        files.get_status(f"{folder}/none.csv")
    with pytest.raises(FileNotFoundError, match="none"):
        files.list_files(f"{folder}/none*.csv")


def test_the_fingerprint_follows_size_and_name(folder):
    before = files.compute_fingerprint([f"{folder}/a.csv", f"{folder}/b.csv"])
    assert before == files.compute_fingerprint([f"{folder}/a.csv", f"{folder}/b.csv"])
    assert before != files.compute_fingerprint([f"{folder}/b.csv", f"{folder}/a.csv"])
    write_file(f"{folder}/b.csv", b"longer than before")
    assert before != files.compute_fingerprint([f"{folder}/a.csv", f"{folder}/b.csv"])


def test_the_fingerprint_follows_the_time_of_a_change(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text")
    before = files.compute_fingerprint([str(path)])
    os.utime(path, ns=(1, 1))
    assert files.compute_fingerprint([str(path)]) != before


def test_a_scheme_that_nothing_opens_is_named():
    with pytest.raises(ValueError, match="unheard://x.csv cannot be opened"):
        files.open_file("unheard://x.csv")


def test_a_path_stays_in_its_folder(tmp_path):
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "a.png").touch()
    (root / "link.png").symlink_to("inner/a.png")
    path = files.resolve_inside(str(root), "inner/../inner/a.png")
    assert path == str(root.resolve() / "inner" / "a.png")
    assert files.resolve_inside(str(root), "link.png") == path
    assert (
        files.resolve_inside("ram://root", "inner/./a.png") == "ram://root/inner/a.png"
    )


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a.png", "a/../../a.png", "a\0.png", "gs://b/a.png"]
)
@pytest.mark.parametrize("root", ["data", "ram://data"])
def test_a_path_that_leads_out_by_its_spelling_is_refused(root, path):
    with pytest.raises(ValueError, match="data's folder"):
        files.resolve_inside(root, path)


def test_a_link_that_leads_out_is_refused(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "a.png").touch()
    (root / "file.png").symlink_to(outside / "a.png")
    (root / "folder").symlink_to(outside)
    for path in ("file.png", "folder/a.png"):
        with pytest.raises(ValueError, match="symbolic link"):
            files.resolve_inside(str(root), path)


class ServerError(Exception):
    """As aiohttp raises: neither an OSError nor a ValueError."""


class FailingFile(io.BytesIO):
    def read(self, *_):
        raise ServerError("500")


class FailingFiles(fsspec.AbstractFileSystem):
    """Opens some files, and gives the content of none."""

    protocol = "failing"

    def _open(self, path, *args, **kwargs):
        if path.endswith("closed.png"):
            raise ServerError("500")
        return FailingFile()

    def size(self, path):
        raise ServerError("500")


def test_the_errors_of_a_server_are_os_errors(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", types.ModuleType("aiohttp"))
    monkeypatch.setattr(sys.modules["aiohttp"], "ClientError", ServerError, False)
    fsspec.register_implementation("failing", FailingFiles, clobber=True)
    for name in ("a.png", "closed.png"):
        with pytest.raises(OSError, match=f"{name} cannot be read: 500"):
            files.read_file(f"failing://{name}")
    with pytest.raises(OSError, match="a.png cannot be read: 500"):
        files.get_status("failing://a.png")
