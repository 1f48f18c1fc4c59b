"""Which of the rows that have a class are taken: N a class, no image twice."""

import collections
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tf_multimodal.data import spec
from tf_multimodal.data.duplicates import normalize_text
from tf_multimodal.datasets.coyo import class_rules
from tf_multimodal.datasets.coyo.buckets import compute_hashes
from tf_multimodal.datasets.coyo.recipe import Recipe

_ROW_FIELDS = [
    ("id", pa.int64()),
    ("url", pa.string()),
    ("text", pa.string()),
    ("image_phash", pa.string()),
]
CANDIDATE_SCHEMA = pa.schema([*_ROW_FIELDS, ("class", pa.int64())])
SCHEMA = pa.schema(
    [
        *_ROW_FIELDS,
        ("masked_text", pa.string()),  # without the keywords of any class
        ("label", pa.string()),
        ("split", pa.string()),
    ]
)


def compute_places(hashes: pa.ChunkedArray, seed: int) -> np.ndarray:
    """Returns uint64 [n] by which rows are ordered, equal for equal image hashes."""
    return compute_hashes(hashes, f"place{seed}")


def assign_splits(
    hashes: pa.ChunkedArray, fractions: Sequence[float], seed: int
) -> np.ndarray:
    """Returns object [n], the split of each image hash, whatever else is chosen."""
    values = compute_hashes(hashes, f"split{seed}") / 2**64
    edges = np.cumsum(fractions)[:-1]
    return np.array(spec.SPLITS, object)[np.searchsorted(edges, values, side="right")]


class Choice:
    """Takes rows in the order of their places until each class has its number.

    An image that several classes claim is none's. An image hash, a URL and a text are
    taken once: 22 %, 12 % and 24 % of COYO's repeat, and the picture of a URL is the
    same in whichever split its rows are.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.left_out: collections.Counter[str] = collections.Counter()
        self._recipe = recipe
        self._counts = np.zeros(len(recipe.classes), np.int64)
        self._urls: set[str] = set()
        self._texts: set[str] = set()
        self._chosen = [CANDIDATE_SCHEMA.empty_table()]

    def add(self, rows: pa.Table) -> None:
        """Takes what it can of rows whose places lie above those of earlier calls."""
        if not len(rows):
            return
        places = compute_places(rows["image_phash"], self._recipe.seed)
        rows = rows.select(CANDIDATE_SCHEMA.names).append_column(
            "place", pa.array(places)
        )
        order = ("place", "image_phash", "id")
        rows = rows.sort_by([(name, "ascending") for name in order])
        rows = self._merge_images(rows.drop_columns("place"))
        is_full = self._counts >= self._recipe.per_class
        rows = self._leave_out(rows, is_full[rows["class"].to_numpy()], "class is full")
        columns = [rows[name].to_pylist() for name in ("class", "url", "text")]
        taken = [
            i for i, row in enumerate(zip(*columns, strict=True)) if self._take(*row)
        ]
        self._chosen.append(
            rows.take(pa.array(taken, pa.int64())).cast(CANDIDATE_SCHEMA)
        )

    def make_table(self) -> pa.Table:
        """Returns what was taken, of `SCHEMA`."""
        rows = pa.concat_tables(self._chosen).combine_chunks()
        names = np.array([rule.name for rule in self._recipe.classes], object)
        splits = assign_splits(
            rows["image_phash"], self._recipe.split_fractions, self._recipe.seed
        )
        masked = class_rules.mask_keywords(rows["text"], self._recipe.classes)
        labels = pa.array(names[rows["class"].to_numpy()], pa.string())
        rows = rows.append_column("masked_text", masked).append_column("label", labels)
        rows = rows.append_column("split", pa.array(splits, pa.string()))
        return rows.select(SCHEMA.names).cast(SCHEMA)

    def _merge_images(self, rows: pa.Table) -> pa.Table:
        """Returns the first row of each image hash that one class alone claims."""
        hashes = rows["image_phash"].to_numpy()
        starts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1]))
        classes = rows["class"].to_numpy()
        is_one = np.minimum.reduceat(classes, starts) == np.maximum.reduceat(
            classes, starts
        )
        self.left_out["image_phash taken"] += len(rows) - len(starts)
        self.left_out["image of several classes"] += int((~is_one).sum())
        return rows.take(starts[is_one])

    def _leave_out(self, rows: pa.Table, mask: np.ndarray, reason: str) -> pa.Table:
        self.left_out[reason] += int(mask.sum())
        return rows.filter(~mask)

    def _take(self, label: int, url: str, text: str | None) -> bool:
        text = normalize_text(text or "")
        if self._counts[label] >= self._recipe.per_class:
            self.left_out["class is full"] += 1
        elif url in self._urls:
            self.left_out["URL taken"] += 1
        elif text and text in self._texts:
            self.left_out["text taken"] += 1
        else:
            self._counts[label] += 1
            self._urls.add(url)
            self._texts.add(text)
            return True
        return False
