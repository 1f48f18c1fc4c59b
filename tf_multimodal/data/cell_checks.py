"""Cells of a source as what they stand for; what is wrong with one is an error."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tf_multimodal.data import files, spec
from tf_multimodal.data.class_map import ClassMap, find_closest, normalize_label
from tf_multimodal.data.quoting import quote

SPLIT_NAMES = {name: name for name in spec.SPLITS} | dict.fromkeys(
    ("val", "valid", "dev"), "validation"
)
LEFT_OUT = -1  # the class of a label that the class map leaves out


class Memo(dict[Any, Any]):
    """The results of a function, each computed once: for cells that often recur.

    A list, which cannot be looked up, is an error.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function

    def __missing__(self, cell: Any) -> Any:
        self[cell] = value = self._function(cell)
        return value


class SeenIds:
    """Finds ids that stand twice, by their hashes; memory holds 16 bytes an id."""

    _ROWS = 2**40  # of a file, at most; file and row are kept as one number

    def __init__(self) -> None:
        # int64 [2, n] each, hashes in order and where they were met; few, as those of
        # like size are joined.
        self._runs: list[np.ndarray] = []
        self._files: dict[str, int] = {}

    def find(
        self, ids: Sequence[str], file: str, rows: Sequence[int]
    ) -> dict[int, str]:
        """Remembers ids; returns what is wrong with those that were met before.

        Args:
            ids: of rows of one file.
            file: its name; "": the source has only one.
            rows: the rows' numbers, for the messages.

        Returns:
            The message by position in `ids`.
        """
        number = self._files.setdefault(file, len(self._files))
        places = number * self._ROWS + np.array(rows, np.int64)
        hashes = np.array(list(map(hash, ids)), np.int64)
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        met = places[first][inverse]
        for run in self._runs:
            at = np.minimum(np.searchsorted(run[0], hashes), run.shape[1] - 1)
            met = np.where(run[0, at] == hashes, run[1, at], met)
        is_new = met == places
        new = first[is_new[first]]
        self._add(np.stack([hashes[new], places[new]]))
        return {
            place: self._describe(ids[place], int(met[place]))
            for place in np.flatnonzero(~is_new).tolist()
        }

    def _add(self, run: np.ndarray) -> None:
        if not run.size:
            return
        self._runs.append(run)
        while len(self._runs) > 1 and self._runs[-2].size <= 2 * self._runs[-1].size:
            joined = np.concatenate(self._runs[-2:], axis=1)
            self._runs[-2:] = [joined[:, np.argsort(joined[0])]]

    def _describe(self, row_id: str, place: int) -> str:
        number, row = divmod(place, self._ROWS)
        name = list(self._files)[number]
        of_file = f" of {name}" if name else ""
        return (
            f"received {quote(row_id)}, which row {row}{of_file} has too. Make it "
            "unique."
        )


class LabelNames:
    """Numbers of class names in the order in which they are met.

    Names that are equal when composed (NFC) are one.

    Args:
        class_map: what the labels are called; None: as they are.
        classes: those that there are; None: whatever is met.

    Attributes:
        respelled: labels that were not composed, as they are now.
    """

    def __init__(
        self, class_map: ClassMap | None, classes: Sequence[str] | None
    ) -> None:
        self._class_map, self._classes = class_map, classes
        names = map(normalize_label, classes or ())
        self._numbers = {name: number for number, name in enumerate(names)}
        self.respelled: list[str] = []
        self._known = Memo(lambda cell: self._find(parse_text(cell)))

    @property
    def names(self) -> list[str]:
        """The class of each number."""
        return list(self._numbers if self._classes is None else self._classes)

    def get_number(self, cell: Any) -> int:
        """Returns the number of a label's class, or `LEFT_OUT`.

        Raises:
            ValueError: an empty label, one that is not UTF-8, or an unknown one.
        """
        return self._known[cell]

    def _find(self, label: str) -> int:
        if not label:
            raise ValueError("received an empty label. Give it one, or remove the row.")
        written, label = label, normalize_label(label)
        if label != written:
            self.respelled.append(label)
        if self._class_map is not None:
            label = self._class_map.get_class(label)
            if not label:
                return LEFT_OUT
        if self._classes is not None and label not in self._numbers:
            raise ValueError(
                f"{quote(label)} is not one of the {len(self._classes)} classes. The "
                f"closest: {quote(find_closest(label, self._classes))}"
            )
        return self._numbers.setdefault(label, len(self._numbers))


def parse_text(cell: Any) -> str:
    """Returns the text of a cell without white space around it."""
    if isinstance(cell, bytes):
        raise ValueError(f"received {quote(cell)}, which is not UTF-8.")
    if isinstance(cell, list):
        raise ValueError(f"received a list, {quote(cell)}, expected one value.")
    return (cell or "").strip()


def parse_split(cell: Any) -> str:
    """Returns `train`, `validation` or `test`."""
    text = parse_text(cell)
    if text.lower() not in SPLIT_NAMES:
        raise ValueError(
            f"received {quote(text)}, expected one of {', '.join(SPLIT_NAMES)}."
        )
    return SPLIT_NAMES[text.lower()]


def parse_weight(cell: Any) -> float:
    """Returns a number of at least 0."""
    text = parse_text(cell)
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise ValueError(f"received {quote(text)}, expected a number of at least 0.")
    return weight


def parse_group(cell: Any) -> str:
    """Returns the name of a row's group."""
    text = parse_text(cell)
    if not text:
        raise ValueError("received an empty group. Give the row a name of its own.")
    return text


def parse_labels(cell: Any, separator: str) -> list[Any]:
    """Returns the labels of a list, or of a text that a separator divides."""
    if not isinstance(cell, list):
        cell = parse_text(cell).split(separator)
    # Duplicates and empty ones go; what is no text is refused by whoever looks it up.
    labels = [label.strip() if isinstance(label, str) else label for label in cell]
    return [label for label in dict.fromkeys(labels) if label]


def parse_path(cell: Any) -> str:
    """Returns a path relative to the data's folder; empty: no image."""
    if isinstance(cell, bytes | list):
        raise ValueError(
            f"received {quote(cell)}, which is no path. Where the column holds the "
            "images themselves, the run's config.data.image_encoding must be 'bytes'."
        )
    if not cell or not cell.strip():
        return ""
    # Most paths have nothing in them that could lead out.
    if ".." in cell or "\0" in cell or ":" in cell or cell[0] in "/\\":
        files.check_relative(cell)
    return cell


def parse_base64(cell: Any) -> bytes:
    """Returns the bytes that a text in base64 spells."""
    if isinstance(cell, str) and cell.startswith("data:"):  # as in a web page
        cell = cell.partition(",")[2]
    try:
        return base64.b64decode("".join((cell or "").split()), validate=True)
    except (binascii.Error, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"received {quote(cell)}, which is not base64.") from error


def parse_bytes(cell: Any) -> bytes:
    """Returns the bytes of an image."""
    if isinstance(cell, list) or (isinstance(cell, str) and cell):
        raise ValueError(
            f"received {quote(cell)}, expected an image's bytes. The run's "
            "config.data.image_encoding must be 'path' or 'base64'."
        )
    return cell or b""
