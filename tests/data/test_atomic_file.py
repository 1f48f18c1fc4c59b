"""Files that appear complete or not at all."""

import pytest

from tf_multimodal.data import atomic_file


def test_writes_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "a.txt"
    atomic_file.write_text(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_file.write_atomically(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".txt"
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
