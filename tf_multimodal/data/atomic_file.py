"""Files that appear complete or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from tf_multimodal.data import files

PARTIAL = ".partial-"  # how the name of what is being written begins


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to; moves the file there at the end.

    An error inside the block removes what was written and leaves `path` as it was.

    Args:
        path: the file to write; its folder is made where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers choose the format by it.
    temporary = path.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else a crash may leave the name without content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def write_url(path: str) -> Iterator[str]:
    """Does what `write_atomically` does, for a path or a URL that TensorFlow writes."""
    if not files.get_scheme(path):
        with write_atomically(path) as local:
            yield str(local)
        return
    import tensorflow as tf

    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/{PARTIAL}{uuid.uuid4().hex}-{name}"
    try:
        yield temporary
        tf.io.gfile.rename(temporary, path, overwrite=True)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8, in one piece."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
