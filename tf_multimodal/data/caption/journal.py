"""The captions that are finished, on disk before the next batch begins."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """A file of JSON lines: what the captions depend on, then a caption a line.

    Args:
        path: the file; one that is there is gone on with.
        settings: what the captions depend on.

    Attributes:
        texts: caption by row.

    Raises:
        ValueError: the file is of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.texts = path, dict[int, str]()
        lines = _read_whole_lines(path)
        if lines and json.loads(lines[0]) != settings:
            raise ValueError(
                f"{path} holds captions that were begun with another manifest, model "
                f"or prompt: {lines[0].decode()}. Expected {json.dumps(settings)}. "
                "Remove it to begin anew, or give the same flags to go on."
            )
        for line in lines[1:]:
            entry = json.loads(line)
            self.texts[entry["row"]] = entry["text"]
        if not lines:
            self._append([settings])

    def add(self, texts: Mapping[int, str]) -> None:
        """Writes captions by row; when it returns they are on disk."""
        self._append([{"row": row, "text": text} for row, text in texts.items()])
        self.texts |= texts

    def remove(self) -> None:
        """Removes the file."""
        self.path.unlink()

    def _append(self, entries: list[Any]) -> None:
        with open(self.path, "ab") as file:
            file.write(b"".join(json.dumps(e).encode() + b"\n" for e in entries))
            file.flush()
            os.fsync(file.fileno())


def _read_whole_lines(path: Path) -> list[bytes]:
    """Returns the lines of a file, and cuts off one that was not finished."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.splitlines()
