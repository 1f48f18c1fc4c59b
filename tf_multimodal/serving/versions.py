"""Version folders: how TensorFlow Serving finds a model, and a newer one."""

import errno
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import NamedTuple

EXTRA_DIR = "assets.extra"  # TensorFlow Serving's name for files beside a model
# It stands in URLs, flags and files, and is no `.`, `..` or flag itself.
_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Version(NamedTuple):
    """The version of a model that a path means.

    Attributes:
        folder: the SavedModel.
        base_dir: holds the versions; the SavedModel itself where `number` is None.
        number: of the version; None: the folder's name is no number.
        is_pinned: whether the path was the version's own.
    """

    folder: pathlib.Path
    base_dir: pathlib.Path
    number: int | None
    is_pinned: bool


def write_next_version(
    output_dir: str | pathlib.Path, write: Callable[[pathlib.Path], None]
) -> pathlib.Path:
    """Writes a version beside its place and moves it to the next number.

    So a server that watches `output_dir` never sees half a version.

    Args:
        output_dir: holds the versions `1/`, `2/`, ...; made when it is missing.
        write: makes the folder that it is called with and fills it; what it raises
            leaves no version behind.

    Returns:
        The version's folder.

    Raises:
        OSError: the folder cannot be written to.
    """
    output_dir = pathlib.Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=output_dir) as beside:
        written = pathlib.Path(beside) / "model"
        write(written)
        while True:
            number = max(list_versions(output_dir), default=0) + 1
            try:
                # A rename onto a folder that holds files is an error, so that
                # nothing is replaced.
                return written.rename(output_dir / str(number))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise  # else another export took the number: the next one


def list_versions(model_dir: str | pathlib.Path) -> list[int]:
    """Returns the numbers of the versions in a folder, ascending."""
    names = [entry.name for entry in pathlib.Path(model_dir).iterdir()]
    return sorted(int(name) for name in names if _is_number(name))


def locate_version(model_dir: str | pathlib.Path) -> Version:
    """Returns the version that a path means.

    Args:
        model_dir: a SavedModel, or the folder that holds the versions: then the
            newest that is one.

    Raises:
        ValueError: neither.
        OSError: the folder cannot be read.
    """
    model_dir = pathlib.Path(model_dir)
    base_dir = model_dir.resolve()
    if _is_saved_model(model_dir):
        if _is_number(base_dir.name):
            return Version(model_dir, base_dir.parent, int(base_dir.name), True)
        return Version(model_dir, base_dir, None, True)
    for number in reversed(list_versions(model_dir) if model_dir.is_dir() else []):
        if _is_saved_model(model_dir / str(number)):
            return Version(model_dir / str(number), base_dir, number, False)
    raise ValueError(
        f"There is no SavedModel in {model_dir}. Expected the folder that "
        "`python -m export` wrote, or one of the versions 1/, 2/, ... in it."
    )


def find_version(model_dir: str | pathlib.Path) -> pathlib.Path:
    """Returns the SavedModel that a path means: see `locate_version`."""
    return locate_version(model_dir).folder


def make_name(model_dir: str | pathlib.Path) -> str:
    """Returns the name under which a folder is served: runs/NAME/export is NAME."""
    model_dir = pathlib.Path(model_dir).resolve()
    return clean_name(
        model_dir.parent.name if model_dir.name == "export" else model_dir.name
    )


def clean_name(name: str) -> str:
    """Returns the name that `check_name` takes and that is most like the given one."""
    return re.sub(r"[^A-Za-z0-9_.-]|^[.-]|^$", "_", name)


def check_name(name: str) -> None:
    """Raises `ValueError` unless a model can be served under a name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be a model's name: expected letters a to z, digits and "
            "any of `_`, `-`, `.`, the first a letter, a digit or `_`, for it stands "
            "in URLs. Set --name."
        )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _is_saved_model(folder: pathlib.Path) -> bool:
    return (folder / "saved_model.pb").is_file()
