"""The rows of a recipe, chosen from COYO's tables in constant memory.

What is left of the tables after the conditions goes to disk, spread over files by a
hash; the files are then read one after the other. For COYO-Labeled-300M that is done
twice: by `id`, to join the labels, and by `image_phash`, to choose.

A row's place is the hash of its `image_phash`. A class's rows are those of the lowest
places, so that the choice depends neither on the order of the files nor on their
number, and that a larger `per_class` adds rows to those of a smaller one.
"""

import collections
import dataclasses
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tf_multimodal.datasets.coyo import class_rules, row_filter
from tf_multimodal.datasets.coyo.buckets import Buckets, compute_hashes, count_buckets
from tf_multimodal.datasets.coyo.choice import CANDIDATE_SCHEMA, Choice, compute_places
from tf_multimodal.datasets.coyo.recipe import Recipe
from tf_multimodal.datasets.coyo.tables import Tables

METADATA_COLUMNS = ("id", "url", "text", "image_phash")
LABEL_COLUMNS = ("id", "labels", "label_probs")
_ROW_SCHEMA = pa.schema([CANDIDATE_SCHEMA.field(name) for name in METADATA_COLUMNS])
_LABEL_SCHEMA = pa.schema({"id": pa.int64(), "class": pa.int64()})
_SLOTS = 1 << 27  # of a table of hashed ids, a byte each
_NO_LABEL = "no class in COYO-Labeled"


@dataclasses.dataclass(frozen=True)
class Selection:
    """The chosen rows, and what became of the others.

    Attributes:
        rows: of `choice.SCHEMA`, in the order of their places.
        rows_read: rows of the metadata.
        left_out: rows by reason; with the chosen ones they add up to `rows_read`.
    """

    rows: pa.Table
    rows_read: int
    left_out: dict[str, int]


class Selector:
    """Chooses the rows of a recipe.

    Args:
        recipe: what to choose.
        metadata: pattern of COYO-700M's Parquet files.
        labels: pattern of COYO-Labeled-300M's; empty for classes by keywords.
        folder: for what goes to disk in between; removed at the end.

    Raises:
        OSError: there is no such file.
        ValueError: a file or a condition that cannot be used; says which.
    """

    def __init__(
        self, recipe: Recipe, metadata: str, labels: str, folder: pathlib.Path
    ) -> None:
        if recipe.needs_labels != bool(labels):
            raise ValueError(
                "the Parquet files of COYO-Labeled-300M (--labels) go with classes by "
                f"'label_ids', and with those alone. Received: --labels={labels!r}"
            )
        self._recipe = recipe
        self._metadata = Tables(metadata, METADATA_COLUMNS)
        self._labels = Tables(labels, LABEL_COLUMNS) if labels else None
        self._conditions = [
            row_filter.parse_condition(text, self._metadata.schema)
            for text in recipe.where
        ]
        self._folder = folder
        self._left_out: collections.Counter[str] = collections.Counter()

    def select(self) -> Selection:
        """Returns the selection; each table is read once.

        Raises:
            ValueError: a file that is damaged; says which.
        """
        shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
        choice = Choice(self._recipe)
        try:
            with self._make_buckets("images", CANDIDATE_SCHEMA) as buckets:
                for rows in self._read_candidates():
                    places = compute_places(rows["image_phash"], self._recipe.seed)
                    buckets.write(rows, places)
                for rows in buckets.read():
                    choice.add(rows)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        left_out = self._left_out + choice.left_out
        return Selection(choice.make_table(), self._metadata.num_rows, dict(left_out))

    def _make_buckets(self, name: str, schema: pa.Schema) -> Buckets:
        count = count_buckets(self._metadata.num_rows)
        return Buckets(self._folder / name, schema, count)

    def _read_candidates(self) -> Iterator[pa.Table]:
        """Yields the rows that have a class."""
        if self._labels is not None:
            yield from self._join_labels(self._labels)
            return
        for rows in self._read_metadata():
            classes = class_rules.classify_texts(rows["text"], self._recipe.classes)
            several = classes == class_rules.SEVERAL_CLASSES
            self._left_out["words of several classes"] += int(several.sum())
            rows = rows.append_column("class", pa.array(classes))
            rows = self._keep(rows, several | (classes >= 0), "no keyword in the text")
            yield rows.filter(pc.field("class") >= 0)

    def _join_labels(self, tables: Tables) -> Iterator[pa.Table]:
        """Yields the rows whose `id` has a class among the machine-made labels."""
        has_label = np.zeros(_SLOTS, bool)  # spares most rows the way to the disk
        with (
            self._make_buckets("labels", _LABEL_SCHEMA) as labels,
            self._make_buckets("rows", _ROW_SCHEMA) as metadata,
        ):
            for rows in tables.read_batches(LABEL_COLUMNS):
                rows = self._classify(rows)
                hashes = compute_hashes(rows["id"], "id")
                has_label[hashes % _SLOTS] = True
                labels.write(rows, hashes)
            for rows in self._read_metadata():
                hashes = compute_hashes(rows["id"], "id")
                kept = has_label[hashes % _SLOTS]
                metadata.write(self._keep(rows, kept, _NO_LABEL), hashes[kept])
            for left, right in zip(metadata.read(), labels.read(), strict=True):
                labeled = right.group_by("id").aggregate([("class", "min")])  # ids once
                labeled = labeled.rename_columns(_LABEL_SCHEMA.names)
                joined = left.join(labeled, "id", join_type="inner")
                self._left_out[_NO_LABEL] += len(left) - len(joined)
                yield joined

    def _classify(self, rows: pa.Table) -> pa.Table:
        """Returns the ids that have a class, with it."""
        classes = class_rules.classify_labels(
            rows["labels"],
            rows["label_probs"],
            self._recipe.classes,
            self._recipe.min_label_prob,
        )
        ids = rows["id"].cast(pa.int64())
        rows = pa.table([ids, pa.array(classes)], schema=_LABEL_SCHEMA)
        return rows.filter((pc.field("class") >= 0) & pc.field("id").is_valid())

    def _read_metadata(self) -> Iterator[pa.Table]:
        """Yields the rows that meet the conditions."""
        recipe = self._recipe
        named = [
            name for text in recipe.where for name in row_filter.list_columns(text)
        ]
        for rows in self._metadata.read_batches([*METADATA_COLUMNS, *named]):
            for text, condition in zip(recipe.where, self._conditions, strict=True):
                left = rows.filter(condition)
                self._left_out[f"not: {text}"] += len(rows) - len(left)
                rows = left
            rows = rows.select(METADATA_COLUMNS).cast(_ROW_SCHEMA)
            # urllib, which img2dataset fetches with, would open file:///etc/passwd.
            is_web = pc.match_substring_regex(rows["url"], "^https?://")
            rows = self._keep(rows, is_web, "no http or https URL")
            complete = pc.and_(
                pc.is_valid(rows["id"]), pc.not_equal(rows["image_phash"], "")
            )
            rows = self._keep(rows, complete, "no id or no image_phash")
            if recipe.scripts:
                written = class_rules.has_script(
                    rows["text"], recipe.scripts, recipe.script_share
                )
                rows = self._keep(rows, written, "text of another script")
            yield rows

    def _keep(
        self, rows: pa.Table, mask: np.ndarray | pa.Array, reason: str
    ) -> pa.Table:
        kept = rows.filter(mask)
        self._left_out[reason] += len(rows) - len(kept)
        return kept
