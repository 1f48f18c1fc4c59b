"""The rows that training could not use: named, counted, and at some point fatal."""

import collections
import json
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NoReturn

from tf_multimodal.data import row_status, spec
from tf_multimodal.data.quoting import shorten
from tf_multimodal.data.source import (
    LeftOutRow,
    Source,
    describe_counts,
    find_first,
)

EXAMPLES = 5  # rows that an error message names
MIN_ROWS = 100  # of fewer rows no rate is judged, unless they are all there are


class TooManyBadRows(RuntimeError):
    """More rows are unusable than the configuration allows."""


class DroppedRows:
    """Names each unusable row once in a file and ends the run over a limit.

    TensorFlow turns what is raised inside a pipeline into an error of its own;
    `error` keeps the original for whoever runs the loop to raise again.

    The rows that the source left out count from the start. Nobody knows which split
    they would have been in: to the training rows belongs the share of them that the
    training rows have of the source.

    Attributes:
        num_rows: training rows, with those that the source left out.
        reasons: why a row is bad, by its index; rows met by this object.
        left_out: index of those that are left out of the loss.
        error: the first `TooManyBadRows` that was raised, or None.
    """

    def __init__(
        self,
        source: Source,
        max_drop_rate: float,
        num_rows: int,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Reads which rows an earlier part of the run has named already.

        Args:
            source: the rows that the indices mean.
            max_drop_rate: share of the rows above which the run ends, 0 to 1.
            num_rows: rows of the source that the run trains on.
            path: the JSON lines file, or None to write nothing.
        """
        self.source = source
        self.max_drop_rate = max_drop_rate
        self._left_out_before = len(source.left_out) * num_rows // max(len(source), 1)
        self.num_rows = num_rows + self._left_out_before
        self.path = pathlib.Path(path) if path else None
        self.reasons: dict[int, str] = {}
        self.left_out: set[int] = set()
        self.error: TooManyBadRows | None = None
        self._statuses: dict[int, str] = {}
        self._counted: set[int] = set()  # those of `left_out` that are bad
        self._lost = 0  # draws of them
        self._new: list[list[Any]] = []  # arguments of `_name`
        self._recent: collections.Counter[str] = collections.Counter()
        self._shown: set[str] = set()
        self._is_summarized = False
        self._named = _read_names(self.path)

    def record_left_out(self) -> None:
        """Names the rows that the source's reader has left out."""
        self._write(self.source.left_out)

    def record(
        self,
        index: int,
        status: str,
        *,
        max_image_px: int = spec.MAX_IMAGE_PX,
        fatal: bool = False,
        left_out: bool = True,
    ) -> None:
        """Names a row unless it is named already.

        Args:
            index: row of the source.
            status: what is wrong with it, one of `spec.STATUSES`.
            max_image_px: the limit that it was held against.
            fatal: end the run at once, whatever the limit.
            left_out: whether the row counts against the limit; False: one of image
                and text is bad, but the other is used. A row that merely lacks what
                this model reads is named, but neither fatal nor counted.

        Raises:
            TooManyBadRows: the row is one too many.
        """
        if self.error:  # the pipeline reads on until somebody sees the error
            raise self.error
        index = int(index)
        self._recent[status] += 1
        if index not in self.reasons:
            self._new.append([index, status, max_image_px, left_out])
        if not self._name(index, status, max_image_px, left_out):
            return
        self._lost += left_out
        if fatal:
            self._stop(self._describe_fatal(index))
        self._check_limit()

    def take_new(self) -> bytes:
        """Returns the rows named since the last call, for the other workers."""
        new, self._new = self._new, []
        return json.dumps(new).encode()

    def add_others(self, rows: bytes) -> None:
        """Names and counts the rows that another worker has met.

        Args:
            rows: as its `take_new` returned them.

        Raises:
            TooManyBadRows: they are too many.
        """
        for index, status, max_image_px, left_out in json.loads(rows):
            self._name(index, status, max_image_px, left_out)
        self._check_limit()

    def check_rate(self, num_met: int) -> None:
        """Ends the run where too many of the rows met so far were left out.

        A run over millions of rows must not have to meet all of them first. By
        chance the bad rows may come early: the limit is passed when there are more
        than three standard deviations above what it allows.

        Args:
            num_met: rows of all batches so far, each as often as it was drawn.

        Raises:
            TooManyBadRows: too many were left out.
        """
        if num_met < MIN_ROWS:
            return
        # Beside those that were met, as many as were left out of so many rows.
        num_rows = self.num_rows - self._left_out_before
        left_out_before = num_met * self._left_out_before // num_rows
        num_met += left_out_before
        num_bad = self._lost + left_out_before
        allowed = self.max_drop_rate * num_met
        if num_bad > allowed + 3 * math.sqrt(allowed):
            self._stop(self._describe(num_bad, num_met))

    def summarize(self) -> str:
        """Returns what was met since the last call, for the log; may be empty.

        The first row of each status is named once, and the rows are counted; those
        that the source left out are counted in the first call.
        """
        recent, self._recent = self._recent, collections.Counter()
        is_first, self._is_summarized = not self._is_summarized, True
        before = [self.describe_left_out()] if is_first and self.source.left_out else []
        if not recent:
            return "\n".join(before)
        first: dict[str, int] = {}
        for index, status in self._statuses.items():
            first.setdefault(status, index)
        lines = [
            f"First {status}: {self.source.describe_row(index)}: {self.reasons[index]}"
            for status, index in first.items()
            if status not in self._shown
        ]
        self._shown |= set(first)
        total = self.num_rows - self._left_out_before
        return "\n".join(
            [
                *before,
                *lines,
                f"Bad rows met since the last line: {describe_counts(recent)}. In all "
                f"{len(self.reasons)} of {total} training rows are bad, "
                f"{len(self.left_out)} of them are left out.",
            ]
        )

    def describe_left_out(self) -> str:
        """Returns how many rows the source left out, and why."""
        rows = self.source.left_out
        counts = collections.Counter(row.status for row in rows)
        return (
            f"{len(rows)} of {self.source.rows_read} rows were left out when "
            f"{self.source.name} was read: {describe_counts(counts)}."
        )

    def _name(self, index: int, status: str, max_image_px: int, left_out: bool) -> bool:
        """Names a row unless it is named already; returns whether it is bad."""
        if index not in self.reasons:
            self.reasons[index] = self._explain(index, status, max_image_px)
            self._statuses[index] = status
            self._write([self._describe_row(index)])
        if left_out:
            self.left_out.add(index)
        if status == spec.MISSING_INPUT and self._has_input(index):
            return False
        if left_out:
            self._counted.add(index)
        return True

    def _check_limit(self) -> None:
        num_bad = len(self._counted) + self._left_out_before
        if num_bad > self.max_drop_rate * self.num_rows:
            self._stop(self._describe(num_bad, self.num_rows))

    def _has_input(self, index: int) -> bool:
        return bool(self.source.images[index] or self.source.texts[index])

    def _explain(self, index: int, status: str, max_image_px: int) -> str:
        texts: Any = [self.source.texts[index]]
        if self.source.captions is not None:
            texts = [text for text in self.source.captions[index] if text] or texts
        image = self.source.images[index]
        reasons = [row_status.explain(status, image, texts[0], max_image_px)]
        if status == spec.UNDECODABLE_TEXT:  # which of the captions
            reasons = [row_status.explain(status, "", text, 0) for text in texts]
        return max(reasons, key=len)

    def _describe_row(self, index: int) -> LeftOutRow:
        return LeftOutRow(
            str(self.source.files[index]),
            int(self.source.rows[index]),
            str(self.source.ids[index]),
            self.reasons[index],
            self._statuses[index],
        )

    def _write(self, rows: Iterable[LeftOutRow]) -> None:
        if self.path is None:
            return
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            for row in rows:
                if row[:3] in self._named:
                    continue
                self._named.add(row[:3])
                line = {"file": row.file, "row": row.row, "id": row.id}
                line |= {"status": row.status, "reason": row.reason}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _stop(self, message: str) -> NoReturn:
        self.error = TooManyBadRows(message)
        raise self.error

    def _describe_fatal(self, index: int) -> str:
        return (
            "A training row cannot be used, and config.data.bad_rows is 'raise':\n"
            f"  {self.source.describe_row(index)}: {self.reasons[index]}\nRepair or "
            "remove it, or set config.data.bad_rows to 'drop' or 'mask'."
        )

    def _describe(self, num_bad: int, num_rows: int) -> str:
        bad = [index for index in self.reasons if index in self._counted]
        counts = collections.Counter(self._statuses[index] for index in bad)
        lines = [
            f"  {self.source.describe_row(index)}: {self.reasons[index]}"
            for index in bad[:EXAMPLES]
        ]
        if self.source.left_out:
            lines.append(f"{self.describe_left_out()} The first of each:")
            lines += [
                f"  {shorten(row.file)}, row {row.row}: {row.reason}"
                for row in find_first(self.source.left_out)
            ]
        where = f" (all are in {self.path})" if self.path else ""
        return (
            f"{num_bad} of {num_rows} training rows cannot be used, more than "
            f"config.data.max_drop_rate={self.max_drop_rate} allows: "
            f"{describe_counts(counts)}. The first{where}:\n"
            + "\n".join(lines)
            + "\nRepair or remove them, or "
            "raise config.data.max_drop_rate."
        )


def _read_names(path: pathlib.Path | None) -> set[tuple[str, int, str]]:
    """Reads the rows in a file, and cuts off a line that a killed run left torn."""
    if path is None or not path.exists():
        return set()
    data = path.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]
    if complete != data:
        path.write_bytes(complete)
    lines = map(json.loads, complete.splitlines())
    return {(line["file"], line["row"], line["id"]) for line in lines}
