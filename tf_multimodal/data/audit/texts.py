"""Every text of a source read once, and what is the matter with it."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_multimodal.data import duplicates
from tf_multimodal.data.audit.finding import (
    SHOWN_CHARS,
    Finding,
    compute_percentiles,
    list_labels,
    make_finding,
)
from tf_multimodal.data.source import Source

LONG_CHARS = 1000  # a text of more characters is very long
SHOWN_TEXTS = 20  # repeated texts that the report lists

_CHUNK = 4096  # rows whose texts are held at once


@dataclasses.dataclass
class TextFacts:
    """What is known of m texts; a row has several where it has several captions.

    Attributes:
        rows: int64 [m], position of the text's row in the source.
        chars: int32 [m]; -1 where a text is not UTF-8.
        tokens: int32 [m], with [CLS] and [SEP]; None without a tokenizer.
        digests: uint64 [m], a hash of the text without case and with single spaces;
            0 of a text without a letter.
        only_spaces: int64, positions of rows with nothing but white space.
        missing: int64, positions of rows without any text.
    """

    rows: np.ndarray
    chars: np.ndarray
    tokens: np.ndarray | None
    digests: np.ndarray
    only_spaces: np.ndarray
    missing: np.ndarray


def iterate_texts(
    source: Source, indices: np.ndarray
) -> Iterator[tuple[int, list[str | bytes]]]:
    """Yields the position of each row and its texts: all captions that it has."""
    for start in range(0, len(indices), _CHUNK):
        chunk = indices[start : start + _CHUNK]
        if source.captions is None:
            rows = [[text] if text else [] for text in source.texts[chunk]]
        else:
            rows = [[t for t in texts if t] for texts in source.captions[chunk]]
        yield from zip(chunk.tolist(), rows, strict=True)


def measure_texts(source: Source, tokenizer: Any = None) -> TextFacts:
    """Reads every text once.

    Args:
        source: the rows.
        tokenizer: of the model, `WordPieceTokenizer`; None: tokens are not counted.
    """
    rows, chars, digests, missing, spaces = [], [], [], [], []
    tokens: list[np.ndarray] = []
    waiting: list[str] = []

    def count_tokens() -> None:
        if tokenizer is not None and waiting:
            counts = [len(pieces) + 2 for pieces in tokenizer.tokenize(waiting)]
            tokens.append(np.array(counts, np.int32))
        waiting.clear()

    for index, texts in iterate_texts(source, np.arange(len(source))):
        if not texts:
            missing.append(index)
        elif all(isinstance(text, str) and not text.strip() for text in texts):
            spaces.append(index)
        for text in texts:
            is_text = isinstance(text, str)
            rows.append(index)
            chars.append(len(text) if is_text else -1)
            digests.append(_compute_digest(text))
            waiting.append(str(text) if is_text else "")
        if len(waiting) >= _CHUNK:
            count_tokens()
    count_tokens()
    return TextFacts(
        rows=np.array(rows, np.int64),
        chars=np.array(chars, np.int32),
        tokens=None
        if tokenizer is None
        else np.concatenate([np.zeros(0, np.int32), *tokens]),
        digests=np.array(digests, np.uint64),
        only_spaces=np.array(spaces, np.int64),
        missing=np.array(missing, np.int64),
    )


def _compute_digest(text: str | bytes) -> int:
    if isinstance(text, bytes):
        return 0
    key = duplicates.normalize_text(text)
    data = key.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8).digest()
    return int.from_bytes(digest, "little") if key else 0


def list_text_findings(source: Source, facts: TextFacts) -> list[Finding]:
    """Returns what is the matter with the texts; those without rows too."""
    counts = count_repeats(facts)
    is_long = facts.chars > LONG_CHARS
    lengths = {
        row: f"{count} characters"
        for row, count in zip(
            facts.rows[is_long].tolist(), facts.chars[is_long].tolist(), strict=True
        )
    }
    repeats = {
        row: f"stands in {count} rows"
        for row, count in zip(facts.rows.tolist(), counts.tolist(), strict=True)
        if count > 1
    }
    kinds = (
        ("no_text", "Rows without a text", facts.missing, None),
        ("empty_text", "Texts of white space alone", facts.only_spaces, None),
        ("undecodable_text", "Texts that are not UTF-8", facts.chars < 0, None),
        (
            "long_text",
            f"Very long texts: more than {LONG_CHARS} characters",
            is_long,
            lengths,
        ),
        (
            "repeated_text",
            "Texts that stand in several rows (without case and spacing)",
            counts > 1,
            repeats,
        ),
    )
    return [
        make_finding(
            source,
            kind,
            title,
            facts.rows[chosen] if chosen.dtype == bool else chosen,
            notes,
        )
        for kind, title, chosen, notes in kinds
    ]


def count_repeats(facts: TextFacts) -> np.ndarray:
    """Returns int64 [m]: in how many rows each text stands; 0 of one without words."""
    pairs = np.unique(
        np.stack([facts.digests, facts.rows.astype(np.uint64)], 1), axis=0
    )
    digests, counts = np.unique(pairs[:, 0], return_counts=True)
    found = counts[np.searchsorted(digests, facts.digests)] if len(digests) else counts
    return np.where(facts.digests > 0, found, 0)


def summarize_texts(source: Source, facts: TextFacts) -> dict[str, Any]:
    """Returns lengths and the most repeated texts, for JSON."""
    counts = count_repeats(facts)
    _, first = np.unique(facts.digests, return_index=True)
    first = first[counts[first] > 1]
    first = first[np.argsort(-counts[first], kind="stable")][:SHOWN_TEXTS]
    repeated = []
    for place in first.tolist():
        same = np.unique(facts.rows[facts.digests == facts.digests[place]])
        labels = {label for row in same for label in list_labels(source, int(row))}
        repeated.append(
            {
                "text": _get_text(source, facts, place)[:SHOWN_CHARS],
                "rows": int(counts[place]),
                "labels": len(labels),
                "splits": sorted(set(source.splits[same].tolist())),
            }
        )
    return {
        "texts": len(facts.rows),
        "percentiles": {
            "characters": compute_percentiles(facts.chars[facts.chars >= 0])
        },
        "repeated": repeated,
    }


def summarize_tokens(facts: TextFacts, max_tokens: int) -> dict[str, Any] | None:
    """Returns percentiles of the token counts and the share that is cut, for JSON."""
    if facts.tokens is None or not len(facts.tokens):
        return None
    return {
        "max_tokens": max_tokens,
        "cut": int((facts.tokens > max_tokens).sum()),
        "cut_share": float((facts.tokens > max_tokens).mean()),
        "percentiles": {"tokens": compute_percentiles(facts.tokens)},
    }


def _get_text(source: Source, facts: TextFacts, place: int) -> str:
    """Returns the text at a place of the facts."""
    row = facts.rows[place : place + 1]
    before = int((facts.rows[:place] == row[0]).sum())
    ((_, texts),) = iterate_texts(source, row)
    return str(texts[before])
