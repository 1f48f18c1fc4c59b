"""What a model says with each of the captions that a row may have."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_multimodal.data.source import Column, Source
from tf_multimodal.evaluation import scores

if TYPE_CHECKING:
    from tf_multimodal.inference.predictor import Predictor

_ROWS_AT_ONCE = 4096


class CaptionColumn:
    """One of the captions of every row, as a column of texts.

    Args:
        captions: a source's column of tuples.
        place: of the caption in the tuples.
    """

    def __init__(self, captions: Column, place: int) -> None:
        self.captions, self.place = captions, place

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: Any) -> Any:
        found = self.captions[index]
        if isinstance(found, tuple):
            return found[self.place]
        column = np.empty(len(found), object)
        column[:] = [captions[self.place] for captions in found]
        return column

    def __iter__(self) -> Iterator[str]:
        return (captions[self.place] for captions in self.captions)


def compute_by_caption(
    predictor: "Predictor", source: Source, index: np.ndarray, batch_size: int = 64
) -> dict[str, dict[str, Any]]:
    """Returns, by the caption's name, the metrics of rows with that caption as text.

    Args:
        predictor: the model; predicts once for each caption.
        source: the rows, with labels.
        index: int64 [n], which of them.
        batch_size: rows of a batch.

    Returns:
        For each caption `rows`, those that have it, and their `accuracy` and
        `macro_f1`, weighted; None where no row that has it weighs more than 0. Empty
        where the source has no captions or the model reads no text.
    """
    if source.captions is None or predictor.preprocessor.modalities == "image":
        return {}
    result = {}
    for place, name in enumerate(source.caption_names):
        texts = CaptionColumn(source.captions, place)
        rows = _find_texts(texts, index)
        values: dict[str, Any] = {"accuracy": None, "macro_f1": None}
        if source.weights[rows].any():
            found = predictor.predict_source(
                dataclasses.replace(source, texts=texts), rows, batch_size=batch_size
            )
            metrics = scores.compute_metrics(source, found)
            values = {key: metrics[key] for key in values}
        result[name] = {"rows": len(rows), **values}
    return result


def _find_texts(texts: CaptionColumn, index: np.ndarray) -> np.ndarray:
    """Returns the rows among `index` whose text has a word, int64."""
    blocks = np.split(index, range(_ROWS_AT_ONCE, len(index), _ROWS_AT_ONCE))
    has_text = [bool(text.strip()) for block in blocks for text in texts[block]]
    return index[np.array(has_text, bool)]
