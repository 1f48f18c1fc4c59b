"""The rows on which several runs can be compared fairly."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tf_multimodal.data.source import Source

_NAMED = 3  # rows that an error names


class CommonRows(NamedTuple):
    """Rows that every run has in the split.

    Attributes:
        indices: of each run, int64 [n], its source's rows, in the same order.
        left_out: of each run, by reason, the number of its split's other rows.
    """

    indices: list[np.ndarray]
    left_out: list[dict[str, int]]


def find_common_rows(
    names: Sequence[str], sources: Sequence[Source], split: str
) -> CommonRows:
    """Returns the rows, by id, that are in the split of every run.

    A row that another run trained on, or chose its weights by, would flatter that run:
    it is left out and counted.

    Args:
        names: of the runs.
        sources: their rows, each in its run's splits, with the same classes.
        split: `train`, `validation` or `test`.

    Raises:
        ValueError: the runs have no such row, or a row is not the same in two of them.
    """
    places = [{str(name): i for i, name in enumerate(s.ids)} for s in sources]
    members = [list(map(str, s.ids[s.get_indices(split)])) for s in sources]
    common = set(members[0]).intersection(*members[1:])
    left_out = []
    for name, own in zip(names, members, strict=True):
        others = [o for o in zip(names, sources, places, strict=True) if o[0] != name]
        reasons = (
            next(filter(None, (_find_reason(i, split, *other) for other in others)))
            for i in own
            if i not in common
        )
        left_out.append(dict(Counter(reasons)))
    if not common:
        counts = "; ".join(
            f"{name} has {len(own)}, of which {_join(reasons)}"
            for name, own, reasons in zip(names, members, left_out, strict=True)
        )
        raise ValueError(
            f"No row is in the split {split} of every run: {counts}. Train the runs "
            "with the same data, seed and config.data.split_fractions."
        )
    order = [identity for identity in members[0] if identity in common]
    indices = [np.array([p[i] for i in order], np.int64) for p in places]
    for number in range(1, len(sources)):
        chosen = [(names[k], sources[k], indices[k]) for k in (0, number)]
        _check_same(*chosen)
    return CommonRows(indices, left_out)


def _find_reason(
    identity: str, split: str, name: str, source: Source, places: dict[str, int]
) -> str:
    """Returns why a row cannot be compared with a run; empty: it can."""
    if identity not in places:
        return f"not in the data of {name}"
    found = source.splits[places[identity]]
    if found == split:
        return ""
    return f"in the split {found} of {name}" if found else f"new to {name}"


def _join(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"


def _check_same(
    first: tuple[str, Source, np.ndarray], other: tuple[str, Source, np.ndarray]
) -> None:
    """Raises ValueError where rows of one id have other labels, or other contents."""
    (name, source, index), (other_name, other_source, other_index) = first, other
    ids = source.ids[index]
    truth, other_truth = source.get_truth(index), other_source.get_truth(other_index)
    is_other = (truth != other_truth).reshape(len(ids), -1).any(axis=1)
    _check_none(
        ids[is_other], f"have another label in {other_name} than in {name}", len(ids)
    )
    # A run may read another text column, or copies of the images; not both.
    is_other = np.ones(len(ids), bool)
    for column in ("files", "texts"):
        mine = getattr(source, column)[index].astype(str)
        theirs = getattr(other_source, column)[other_index].astype(str)
        is_other &= (mine != theirs) & (mine != "") & (theirs != "")
    _check_none(
        ids[is_other],
        f"have another image file and another text in {other_name} than in {name}",
        len(ids),
    )


def _check_none(ids: np.ndarray, what: str, rows: int) -> None:
    if len(ids):
        raise ValueError(
            f"{len(ids)} of {rows} rows of the same id {what}, among them "
            f"{', '.join(map(str, ids[:_NAMED]))}. Runs are compared on the same rows: "
            "expected the same data, with ids of its own (config.data.columns.id)."
        )
