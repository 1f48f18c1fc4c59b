"""Checksums of files, and of the JSON that lists them."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from tf_multimodal.data.atomic_file import write_text

Checksums = dict[str, dict[str, Any]]  # file name: {"bytes": ..., "sha256": ...}
SELF = "sha256"


def compute_checksum(path: pathlib.Path) -> dict[str, Any]:
    """Returns size in bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def compute_checksums(folder: pathlib.Path) -> Checksums:
    """Returns those of all files in a folder, by their paths within it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): compute_checksum(path) for path in files
    }


def find_damage(folder: pathlib.Path, expected: Checksums) -> str:
    """Returns what is wrong with the first damaged file; empty: nothing is.

    Args:
        folder: of the files.
        expected: their checksums, by their paths within it.
    """
    for name, stored in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        size = path.stat().st_size
        if size != stored["bytes"]:
            return f"{path} has {size} bytes instead of {stored['bytes']}"
        if compute_checksum(path)["sha256"] != stored["sha256"]:
            return f"{path} has other content than was written (SHA-256)"
    return ""


def write_sealed(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    """Writes values as JSON with a checksum of them and of the file's name."""
    sealed = {**values, SELF: _hash(path.name, values)}
    write_text(path, json.dumps(sealed, indent=1) + "\n")


def read_sealed(path: pathlib.Path) -> dict[str, Any]:
    """Reads what `write_sealed` wrote.

    Raises:
        ValueError: it was damaged; the message names the file.
        OSError: it cannot be read.
    """
    try:
        values = json.loads(path.read_bytes())
        if values.pop(SELF) == _hash(path.name, values):
            return values
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError(f"{path} has other content than was written")


def _hash(name: str, values: Mapping[str, Any]) -> str:
    text = json.dumps([name, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
