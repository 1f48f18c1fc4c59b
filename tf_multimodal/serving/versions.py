"""Version folders: how TensorFlow Serving finds a model, and a newer one."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def write_next_version(output_dir: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a folder name to write to; moves the folder to the next version at the end.

    It is written beside its place. So a server that watches `output_dir` never sees
    half a version; an error inside the block leaves none behind.

    Args:
        output_dir: holds the versions `1/`, `2/`, ...; made when it is missing.
    """
    output_dir = pathlib.Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=output_dir) as beside:
        written = pathlib.Path(beside) / "model"
        yield written
        # A rename onto a folder that holds files is an error: nothing is replaced.
        written.rename(output_dir / str(max(list_versions(output_dir), default=0) + 1))


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
