"""The rows that training could not use: named, counted, and at some point fatal."""

import json
import os
import pathlib
from typing import Any

from tf_multimodal.data import row_status, spec
from tf_multimodal.data.source import Source

EXAMPLES = 5  # rows that an error message names


class TooManyBadRows(RuntimeError):
    """More rows are unusable than the configuration allows."""


class DroppedRows:
    """Names each unusable row once in a file and ends the run over a limit.

    TensorFlow turns what is raised inside a pipeline into an error of its own;
    `error` keeps the original for whoever runs the loop to raise again.

    Attributes:
        reasons: why a row is bad, by its index; rows met by this object.
        left_out: index of those that are left out of the loss; these count.
        error: the first `TooManyBadRows` that was raised, or None.
    """

    def __init__(
        self,
        source: Source,
        limit_fraction: float,
        num_rows: int,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Reads which rows an earlier part of the run has named already.

        Args:
            source: the rows that the indices mean.
            limit_fraction: share of `num_rows` above which the run ends, 0 to 1.
            num_rows: rows that the run trains on.
            path: the JSON lines file, or None to write nothing.
        """
        self.source = source
        self.limit_fraction = limit_fraction
        self.num_rows = num_rows
        self.path = pathlib.Path(path) if path else None
        self.reasons: dict[int, str] = {}
        self.left_out: set[int] = set()
        self.error: TooManyBadRows | None = None
        self._named = _read_ids(self.path)

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
                and text is bad, but the other is used.

        Raises:
            TooManyBadRows: the row is one too many.
        """
        if self.error:  # the pipeline reads on until somebody sees the error
            raise self.error
        index = int(index)
        if index not in self.reasons:
            self.reasons[index] = row_status.explain(
                status,
                self.source.images[index],
                self.source.texts[index],
                max_image_px,
            )
            self._write(index, status)
        if left_out:
            self.left_out.add(index)
        if fatal or len(self.left_out) > self.limit_fraction * self.num_rows:
            self.error = TooManyBadRows(self._describe(fatal))
            raise self.error

    def _write(self, index: int, status: str) -> None:
        identity = str(self.source.ids[index])
        if self.path is None or identity in self._named:
            return
        self._named.add(identity)
        line: dict[str, Any] = {
            "file": str(self.source.files[index]),
            "row": int(self.source.rows[index]),
            "id": identity,
            "status": status,
            "reason": self.reasons[index],
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _describe(self, fatal: bool) -> str:
        bad = [(i, why) for i, why in self.reasons.items() if i in self.left_out]
        bad = bad[-1:] if fatal else bad[:EXAMPLES]
        lines = [f"  {self.source.describe_row(i)}: {reason}" for i, reason in bad]
        if fatal:
            return (
                "A training row cannot be used, and config.data.bad_images is "
                "'raise':\n" + "\n".join(lines) + "\nRepair or remove it, or set "
                "config.data.bad_images to 'drop' or 'mask'."
            )
        where = f" (all are in {self.path})" if self.path else ""
        return (
            f"{len(self.left_out)} of {self.num_rows} training rows cannot be used, "
            f"more than config.data.max_bad_fraction={self.limit_fraction} allows. "
            f"The first{where}:\n" + "\n".join(lines) + "\nRepair or remove them, or "
            "raise config.data.max_bad_fraction."
        )


def _read_ids(path: pathlib.Path | None) -> set[str]:
    """Reads the ids in a file, and cuts off a line that a killed run left torn."""
    if path is None or not path.exists():
        return set()
    data = path.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]
    if complete != data:
        path.write_bytes(complete)
    return {json.loads(line)["id"] for line in complete.splitlines()}
