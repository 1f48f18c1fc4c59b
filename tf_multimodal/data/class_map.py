"""A file that says which class each label of the data belongs to."""

import csv
import difflib
import io
import unicodedata
from collections.abc import Sequence

from tf_multimodal.data import files
from tf_multimodal.data.quoting import quote, shorten

COLUMNS = ("label", "class")


class ClassMap:
    """Classes by label; an empty class leaves the rows of a label out.

    Attributes:
        classes: in the order in which the file names them first.
    """

    def __init__(self, path: str) -> None:
        """Reads a CSV file with the columns `label` and `class`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: names the line, what was received and expected.
        """
        if not files.is_file(path):
            raise FileNotFoundError(
                f"There is no file {path}, which config.data.class_map names. Set it "
                "to a CSV file with the columns label and class."
            )
        self.path = path
        self._class_of: dict[str, str] = {}
        data = files.read_file(path)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ValueError(
                f"{path}, line {line}: not UTF-8 ({error.reason}). Save it as UTF-8."
            ) from error
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            for cells in reader:
                self._add(cells, reader.line_num)
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
        if not self._class_of:
            raise ValueError(
                f"{path} names no label. Expected the header {','.join(COLUMNS)}, and "
                "a line for each label."
            )
        self.classes = tuple(dict.fromkeys(filter(None, self._class_of.values())))

    def get_class(self, label: str) -> str:
        """Returns the class of a composed label; empty: its rows are to be left out.

        Raises:
            ValueError: the file has no such label; names the closest.
        """
        if label not in self._class_of:
            raise ValueError(
                f"received {quote(label)}, which is no label of {self.path}. The "
                f"closest: {quote(find_closest(label, list(self._class_of)))}."
            )
        return self._class_of[label]

    def _add(self, cells: list[str], line: int) -> None:
        cells = [normalize_label(cell.strip()) for cell in cells]
        if line == 1:
            if tuple(cells) != COLUMNS:
                raise ValueError(
                    f"{self.path}: expected the header {','.join(COLUMNS)}. Received: "
                    f"{shorten(','.join(cells))}"
                )
        elif cells:
            if len(cells) != len(COLUMNS) or not cells[0]:
                raise ValueError(
                    f"{self.path}, line {line}: expected a label and its class (empty: "
                    f"leave its rows out). Received: {quote(','.join(cells))}"
                )
            label, name = cells
            if self._class_of.setdefault(label, name) != name:
                raise ValueError(
                    f"{self.path}, line {line}: the label {quote(label)} has the "
                    f"class {quote(self._class_of[label])} already. Received: "
                    f"{quote(name)}"
                )


def normalize_label(label: str) -> str:
    """Returns a label in the composed form of Unicode (NFC): é is one character."""
    return unicodedata.normalize("NFC", label)


def find_closest(name: str, names: Sequence[str]) -> str:
    """Returns the name that is most like another one; empty where there is none."""
    return next(iter(difflib.get_close_matches(name, names, 1, 0.0)), "")
