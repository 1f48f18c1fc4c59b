"""Version folders: how TensorFlow Serving finds a model, and a newer one."""

import errno
import pathlib
import re
import tempfile
from collections.abc import Callable

EXTRA_DIR = "assets.extra"  # TensorFlow Serving's name for files beside a model


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
    return sorted(int(name) for name in names if name.isdecimal())


def find_version(model_dir: str | pathlib.Path) -> pathlib.Path:
    """Returns the folder of a SavedModel.

    Args:
        model_dir: that folder, or the one that holds the versions: then the newest.

    Raises:
        ValueError: neither.
    """
    model_dir = pathlib.Path(model_dir)
    if (model_dir / "saved_model.pb").is_file():
        return model_dir
    versions = list_versions(model_dir) if model_dir.is_dir() else []
    for number in reversed(versions):
        if (model_dir / str(number) / "saved_model.pb").is_file():
            return model_dir / str(number)
    raise ValueError(
        f"There is no SavedModel in {model_dir}. Expected the folder that "
        "`python -m export` wrote, or one of the versions 1/, 2/, ... in it."
    )


def make_name(model_dir: str | pathlib.Path) -> str:
    """Returns the name under which a folder is served: runs/NAME/export is NAME."""
    model_dir = pathlib.Path(model_dir).resolve()
    name = model_dir.parent.name if model_dir.name == "export" else model_dir.name
    return re.sub(r"[^\w.-]", "_", name)
