import pathlib

import pytest

from tf_multimodal.serving import versions


def write_model(folder):
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph")


def test_versions_are_numbered_and_never_replaced(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "file").write_text("kept")
    (tmp_path / "notes").mkdir()
    assert versions.write_next_version(tmp_path, write_model) == tmp_path / "8"
    assert versions.write_next_version(tmp_path, write_model) == tmp_path / "9"
    assert versions.list_versions(tmp_path) == [7, 8, 9]
    assert (tmp_path / "7" / "file").read_text() == "kept"


def test_a_version_appears_in_one_step(tmp_path):
    def write(folder):
        write_model(folder)
        # While it is written, a server that looks for numbers sees none.
        assert versions.list_versions(tmp_path) == []
        assert folder.parent.parent == tmp_path  # same file system: a rename moves it

    versions.write_next_version(tmp_path, write)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]


def test_a_failed_version_leaves_nothing(tmp_path):
    def write(folder):
        write_model(folder)
        raise ValueError("the check failed")

    with pytest.raises(ValueError, match="the check failed"):
        versions.write_next_version(tmp_path / "new", write)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_number_that_another_export_took_is_left_alone(tmp_path, monkeypatch):
    """Two exports that see the same versions do not replace each other's."""
    first = versions.write_next_version(tmp_path, write_model)
    seen = iter([[], [1]])  # the listing of before, then today's
    monkeypatch.setattr(versions, "list_versions", lambda _: next(seen))
    second = versions.write_next_version(tmp_path, write_model)
    assert (first.name, second.name) == ("1", "2")


def test_the_newest_version_is_found(tmp_path):
    for number in ("2", "10"):
        write_model(tmp_path / number)
    (tmp_path / "11").mkdir()  # not a SavedModel
    assert versions.find_version(tmp_path) == tmp_path / "10"
    assert versions.find_version(str(tmp_path / "2")) == tmp_path / "2"


@pytest.mark.parametrize("name", ["empty", "gone"])
def test_a_folder_without_a_model_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"no SavedModel in .*{name}") as error:
        versions.find_version(pathlib.Path(tmp_path, name))
    assert "python -m export" in str(error.value)


def test_a_path_means_a_version(tmp_path):
    for name in ("2", "10", "loose"):
        write_model(tmp_path / name)
    assert versions.locate_version(tmp_path) == (tmp_path / "10", tmp_path, 10, False)
    pinned = versions.locate_version(tmp_path / "2")
    assert pinned == (tmp_path / "2", tmp_path, 2, True)
    loose = versions.locate_version(tmp_path / "loose")
    assert loose == (tmp_path / "loose", tmp_path / "loose", None, True)


def test_a_version_knows_its_number_from_inside(tmp_path, monkeypatch):
    write_model(tmp_path / "3")
    monkeypatch.chdir(tmp_path / "3")
    located = versions.locate_version(".")
    assert (located.base_dir, located.number) == (tmp_path, 3)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("runs/two dogs/export", "two_dogs"),
        ("models/pets-2.1", "pets-2.1"),
        ("models/2cats", "2cats"),
        ("models/사진", "__"),
        ("models/...", "_.."),
        ("models/--name=x", "_-name_x"),
        ("/", "_"),
    ],
)
def test_a_folder_gives_a_name_that_can_be_served(folder, name):
    assert versions.make_name(folder) == name
    versions.check_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "--name=x", "a/b", "a:b", "사진", "a\n"]
)
def test_a_name_that_cannot_be_served_is_refused(name):
    with pytest.raises(ValueError, match="cannot be a model's name") as error:
        versions.check_name(name)
    assert repr(name) in str(error.value) and "--name" in str(error.value)
    versions.check_name(versions.clean_name(name))
