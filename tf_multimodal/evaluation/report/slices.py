"""Where the model is worse than elsewhere: accuracy of parts of the split."""

import collections
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from tf_multimodal.evaluation.comparison import adjust_holm
from tf_multimodal.evaluation.report import presence
from tf_multimodal.evaluation.report.collect import Collected
from tf_multimodal.evaluation.report.slice_columns import (
    cut_at_quantiles,
    make_bins,
    read_columns,
)

MIN_ROWS = 10
MAX_SLICES = 200  # so many are looked at: columns may be hundreds
_NAMED = 10  # columns that a note names
_BINS = 4
_LEVEL = 0.05
_COLUMN = "column "
_Z = 1.959964  # of a 95 % interval
# Width over height, up to which an image is as named.
_ASPECTS = {3 / 4: "narrower than 3:4", 4 / 3: "3:4 to 4:3", np.inf: "wider than 4:3"}
_INPUTS = ("neither", "image without text", "text without image", "image and text")


class _Dimension(NamedTuple):
    """A way to cut the split into slices."""

    by: str
    codes: np.ndarray  # int64 [n], the slice of each row; -1: in none
    names: list[str]


def make_slices(collected: Collected) -> dict[str, Any]:
    """Returns the section `slices`: parts of the split, the worst first.

    Rows count by their weights, and those of a group as one observation, as they are
    right or wrong together: the effective number of rows is (sum of weights)^2 / sum of
    (weights of a group)^2 (Kish 1965, Survey Sampling). Intervals, 95 %, are those of
    Wilson 1927 for an accuracy, and of Newcombe 1998 (Statistics in Medicine 17, method
    10) for the difference to the rest; unlike the bootstrap's, they have a width where
    all of ten rows are right. The p value is that of the two-proportion z test, and
    `survives` says whether the difference is significant at 5 % after Holm's correction
    (1979) for the number of slices looked at.

    Slices of fewer than 10 rows, or that leave fewer than 10, are left out and counted.
    Columns are cut in their order, as long as there are at most `MAX_SLICES` slices.

    Args:
        collected: the split.
    """
    counted = collected.weights > 0
    measured = _Rows.make(collected)
    columns, notes = read_columns(collected)
    rows: list[dict[str, Any]] = []
    too_small = 0
    dimensions = list(_list_dimensions(collected))
    cut, useless, beyond = _cut_columns(columns, MAX_SLICES - _count(dimensions))
    dimensions += cut
    for dimension in dimensions:
        for number, name in enumerate(dimension.names):
            inside = counted & (dimension.codes == number)
            rest = counted & ~inside
            if not inside.any() or not rest.any():
                continue
            if min(inside.sum(), rest.sum()) < MIN_ROWS:
                too_small += 1
                continue
            row = {"by": dimension.by, "name": name, "count": int(inside.sum())}
            rows.append(row | _compare(measured, inside, rest))
    adjusted = adjust_holm([row["p_value"] for row in rows])
    for row, p_value in zip(rows, adjusted, strict=True):
        row["survives"] = p_value <= _LEVEL
    if useless:
        notes.append(
            "These columns make no slices, as they have one value or very many: "
            f"{_list_names(useless)}."
        )
    if beyond:
        notes.append(
            f"{len(beyond)} columns were left out, as no more than {MAX_SLICES} slices "
            f"are looked at: {_list_names(beyond)}."
        )
    rows.sort(key=lambda row: (row["accuracy"], row["difference"]))
    return {
        "accuracy": measured.measure(counted).accuracy,
        "count": int(counted.sum()),
        "looked_at": len(rows),
        "too_small": too_small,
        "min_rows": MIN_ROWS,
        "columns": [dimension.by.removeprefix(_COLUMN) for dimension in cut],
        "rows": rows,
        "notes": [*_make_notes(len(rows)), *notes],
    }


def find_script(text: str) -> str:
    """Returns the script that most letters of a text are of, such as `Latin`.

    It is the first word of a letter's Unicode name, but for CJK, of which there are
    Chinese, and Japanese where kana stand among them. Empty where there is no letter.
    """
    counts = collections.Counter(
        unicodedata.name(character, "").partition(" ")[0]
        for character in text
        if character.isalpha()
    )
    counts.pop("", None)
    for fullwidth in ("FULLWIDTH", "HALFWIDTH", "MODIFIER"):
        counts.pop(fullwidth, None)
    kana = counts.pop("HIRAGANA", 0) + counts.pop("KATAKANA", 0)
    if kana:
        counts["JAPANESE"] = kana + counts.pop("CJK", 0)
    if not counts:
        return ""
    script = max(sorted(counts), key=lambda name: counts[name])
    return "Chinese characters" if script == "CJK" else script.title()


class _Rows(NamedTuple):
    """What is counted of each row: float64, float64 and int64 [n]."""

    correct: np.ndarray
    weights: np.ndarray
    members: np.ndarray  # number of the group

    @classmethod
    def make(cls, collected: Collected) -> "_Rows":
        _, members = np.unique(collected.groups.astype(str), return_inverse=True)
        weights = collected.weights.astype(np.float64)
        return cls(collected.correct().astype(np.float64), weights, members)

    def measure(self, chosen: np.ndarray) -> "_Part":
        """Returns the accuracy of some rows, bool [n]."""
        weights = self.weights[chosen]
        by_group = np.bincount(self.members[chosen], weights)
        return _Part(
            float(np.average(self.correct[chosen], weights=weights)),
            float(by_group.sum() ** 2 / (by_group**2).sum()),
        )


class _Part(NamedTuple):
    """Accuracy of some rows, and of how many independent ones it is."""

    accuracy: float
    size: float

    def find_interval(self) -> tuple[float, float]:
        """Returns Wilson's interval."""
        share, size, z = self.accuracy, self.size, _Z
        middle = (share + z**2 / (2 * size)) / (1 + z**2 / size)
        width = z / (1 + z**2 / size)
        width *= np.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
        return max(0.0, float(middle - width)), min(1.0, float(middle + width))


def _compare(rows: _Rows, inside: np.ndarray, rest: np.ndarray) -> dict[str, Any]:
    part, other = rows.measure(inside), rows.measure(rest)
    (low, high), (other_low, other_high) = part.find_interval(), other.find_interval()
    difference = part.accuracy - other.accuracy
    pooled = rows.measure(inside | rest).accuracy
    error = np.sqrt(pooled * (1 - pooled) * (1 / part.size + 1 / other.size))
    p_value = 2 * stats.norm.sf(abs(difference) / error) if error > 0 else 1.0
    return {
        "accuracy": part.accuracy,
        "interval": [low, high],
        "difference": difference,
        "difference_interval": [
            difference
            - float(np.hypot(part.accuracy - low, other_high - other.accuracy)),
            difference
            + float(np.hypot(high - part.accuracy, other.accuracy - other_low)),
        ],
        "p_value": float(p_value),
    }


def _cut_columns(
    columns: dict[str, np.ndarray], most: int
) -> tuple[list[_Dimension], list[str], list[str]]:
    """Returns columns as slices, those that make none, and those beyond `most`."""
    cut: list[_Dimension] = []
    useless: list[str] = []
    names = list(columns)
    for place, name in enumerate(names):
        found = list(_name(_COLUMN + name, make_bins(columns[name], _BINS)))
        if _count(cut + found) > most:
            return cut, useless, names[place:]
        cut += found
        if not found:
            useless.append(name)
    return cut, useless, []


def _count(dimensions: list[_Dimension]) -> int:
    return sum(len(dimension.names) for dimension in dimensions)


def _list_names(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _list_dimensions(collected: Collected) -> Iterator[_Dimension]:
    has_image, has_text = (
        find(collected) for find in (presence.find_images, presence.find_texts)
    )
    reads = collected.modalities
    if reads != "image":
        texts = presence.get_texts(collected)
        words = [len(text.replace("_", " ").split()) for text in texts]
        lengths = np.where(words, np.array(words, np.float64), np.nan)
        yield from _name("text length", cut_at_quantiles(lengths, _BINS, "words"))
        scripts = [find_script(text) or "no letters" for text in texts]
        known = [s if has else None for s, has in zip(scripts, has_text, strict=True)]
        yield from _name("script", make_bins(np.array(known, object)))
    if reads != "text":
        width, height = collected.sizes.astype(np.float64).T
        shorter = np.where(has_image, np.minimum(width, height), np.nan)
        yield from _name(
            "image size",
            cut_at_quantiles(shorter, _BINS, "pixels on the shorter side"),
        )
        aspects = width / np.maximum(height, 1)
        limits = np.array(list(_ASPECTS)[:-1])
        codes = np.where(has_image, np.digitize(aspects, limits), -1)
        yield _Dimension("aspect", codes, list(_ASPECTS.values()))
    if reads == "image_text":
        yield _Dimension("input", has_image + 2 * has_text, list(_INPUTS))
    yield from _name("status", make_bins(np.asarray(collected.status, object)))


def _name(by: str, found: tuple[np.ndarray, list[str]] | None) -> Iterator[_Dimension]:
    if found is not None:
        yield _Dimension(by, *found)


def _make_notes(looked_at: int) -> list[str]:
    if not looked_at:
        return ["There are no two parts of ten rows to compare."]
    return [
        f"{looked_at} slices were looked at, and of so many some are bad by chance: a "
        "mark stands where the difference to the rest is significant at 5 % after "
        "Holm's correction.",
        "Rows of a group (near-duplicates) count as one in the intervals.",
    ]
