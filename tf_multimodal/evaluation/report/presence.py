"""Which rows have an image or a text that can be used, whatever the model reads."""

import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.evaluation.report.collect import Collected

_IMAGE_TROUBLE = (
    spec.UNREADABLE_IMAGE,
    spec.UNDECODABLE_IMAGE,
    spec.IMAGE_TOO_LARGE,
)


def find_images(collected: Collected) -> np.ndarray:
    """Returns, bool [n], the rows with an image that could be used."""
    has_size = (collected.sizes > 0).all(axis=1)
    return has_size & ~np.isin(collected.status, _IMAGE_TROUBLE)


def find_texts(collected: Collected) -> np.ndarray:
    """Returns, bool [n], the rows with a text that is not blank and is UTF-8."""
    return np.array([bool(text.strip()) for text in get_texts(collected)], bool)


def find_inputs(collected: Collected) -> np.ndarray:
    """Returns, bool [n], the rows that the model has an input of.

    Of the others its probabilities are those of no input at all.
    """
    found = np.zeros(len(collected), bool)
    if collected.modalities != "text":
        found |= find_images(collected)
    if collected.modalities != "image":
        found |= find_texts(collected)
    return found


def get_texts(collected: Collected) -> list[str]:
    """Returns the texts of the rows; empty where one is missing or not UTF-8."""
    texts = collected.source.texts[collected.index]
    return [text if isinstance(text, str) else "" for text in texts]
