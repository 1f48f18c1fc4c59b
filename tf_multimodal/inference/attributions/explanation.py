"""Explanations of a model's answers for rows of a source."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_multimodal.data import pipeline, row_status, spec
from tf_multimodal.data.source import Source
from tf_multimodal.inference.attributions.cut_model import CutModel, cut_model
from tf_multimodal.inference.attributions.grad_cam import compute_heat_maps
from tf_multimodal.inference.attributions.integrated_gradients import (
    compute_piece_scores,
)
from tf_multimodal.inference.attributions.modality_share import (
    compute_contributions,
    compute_shares,
)
from tf_multimodal.inference.attributions.words import merge_pieces
from tf_multimodal.inference.predictions import compute_probabilities
from tf_multimodal.inference.predictor import Predictor

_BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class WordScore:
    """A word of the text, and what it adds to the class's score (in logits)."""

    text: str
    score: float


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a model's answer for one row rests on.

    Attributes:
        target: the class that is explained.
        probabilities: float32 [classes], calibrated as those of the predictor.
        heat_map: float32 [s, s], 0 to 1: where the image speaks for the class, at the
            network's image size (Grad-CAM); None without an image.
        picture: uint8 [s, s, 3], the image as the network saw it; None without one.
        words: the words that the model read, with the sum of their pieces'
            integrated gradients; empty without a text.
        completeness_gap: by how much the scores miss the whole effect of the words,
            relative to it; None without a text.
        image_share: share of the image in the answer, 0 to 1 (Shapley values); with
            `text_share` it sums to 1. None: there is neither.
        text_share: share of the text.
        status: one of spec.STATUSES: an image or a text that cannot be used is masked.
        reason: a sentence, where the status is not `ok`.
    """

    target: int
    probabilities: np.ndarray
    heat_map: np.ndarray | None
    picture: np.ndarray | None
    words: tuple[WordScore, ...]
    completeness_gap: float | None
    image_share: float | None
    text_share: float | None
    status: str
    reason: str = ""


def explain_rows(
    predictor: Predictor,
    source: Source,
    indices: Sequence[int] | np.ndarray,
    targets: Sequence[int] | np.ndarray | None = None,
) -> list[Explanation]:
    """Returns an explanation for each of some rows of a source, in order.

    What is attributed is the class's logit less the mean of all logits, before the
    temperature (with several labels a row: the logit).

    Args:
        predictor: a run's model, in float32.
        source: the rows.
        indices: int [n], which of them.
        targets: int [n], the classes to explain; None: the most probable ones.

    Raises:
        ValueError: Keras does not run on TensorFlow, the encoder cannot be cut, or a
            target is not a class.
    """
    indices = np.asarray(indices, np.int64)
    if targets is not None:
        targets = np.asarray(targets, np.int64)
        _check_targets(targets, len(indices), predictor.classes)
    cut = cut_model(predictor.model)
    dataset = pipeline.make_eval_dataset(
        source,
        indices,
        predictor.preprocessor,
        batch_size=max(1, min(len(indices), _BATCH_SIZE)),
    )
    found: list[Explanation] = []
    for batch in dataset:
        kept = np.flatnonzero(batch[spec.INDEX].numpy() >= 0)
        inputs = {key: tf.gather(x, kept) for key, x in batch[spec.INPUTS].items()}
        status = [spec.STATUSES[i] for i in batch[spec.STATUS].numpy()[kept]]
        rows = indices[len(found) : len(found) + len(kept)]
        chosen = None
        if targets is not None:
            chosen = targets[len(found) : len(found) + len(kept)]
        found += _explain_batch(predictor, cut, source, rows, inputs, status, chosen)
    return found


def _explain_batch(
    predictor: Predictor,
    cut: CutModel,
    source: Source,
    rows: np.ndarray,
    inputs: dict[str, Any],
    status: list[str],
    targets: np.ndarray | None,
) -> list[Explanation]:
    states = cut.encode(inputs)
    logits = cut.compute_logits(states, inputs).numpy()
    if targets is None:
        targets = logits.argmax(axis=1)
    target = tf.constant(targets, tf.int32)
    probabilities = compute_probabilities(
        logits, predictor.model.activation, predictor.temperature
    )
    pictures = _explain_images(predictor, cut, inputs, states, target)
    texts = _explain_texts(predictor, cut, source, rows, inputs, states, target)
    shares = _compute_shares(cut, inputs, states, target)
    limit = predictor.preprocessor.max_image_px
    return [
        Explanation(
            target=int(targets[place]),
            probabilities=probabilities[place],
            **pictures[place],
            **texts[place],
            image_share=shares[place][0],
            text_share=shares[place][1],
            status=status[place],
            reason=""
            if status[place] == spec.OK
            else row_status.explain(
                status[place], source.images[row], source.texts[row], limit
            ),
        )
        for place, row in enumerate(rows.tolist())
    ]


def _explain_images(
    predictor: Predictor,
    cut: CutModel,
    inputs: dict[str, Any],
    states: dict[str, Any],
    target: Any,
) -> list[dict[str, Any]]:
    """Returns `heat_map` and `picture` of each row."""
    nothing = {"heat_map": None, "picture": None}
    if not cut.reads_images:
        return [nothing] * len(target)
    heat_maps = compute_heat_maps(cut, inputs, states, target).numpy()
    converter = predictor.preprocessor.image_converter
    pictures = _restore_pixels(inputs[spec.IMAGES].numpy(), converter)
    present = inputs[spec.HAS_IMAGE].numpy()
    return [
        {"heat_map": heat_map, "picture": picture} if has_image else nothing
        for heat_map, picture, has_image in zip(
            heat_maps, pictures, present, strict=True
        )
    ]


def _restore_pixels(images: np.ndarray, converter: Any) -> np.ndarray:
    """Returns uint8 pixels of what an image converter has scaled."""
    offset = 0.0 if converter.offset is None else np.asarray(converter.offset)
    scale = 1.0 if converter.scale is None else np.asarray(converter.scale)
    return np.clip(np.rint((images - offset) / scale), 0, 255).astype(np.uint8)


def _explain_texts(
    predictor: Predictor,
    cut: CutModel,
    source: Source,
    rows: np.ndarray,
    inputs: dict[str, Any],
    states: dict[str, Any],
    target: Any,
) -> list[dict[str, Any]]:
    """Returns `words` and `completeness_gap` of each row."""
    found: list[dict[str, Any]]
    found = [{"words": (), "completeness_gap": None} for _ in rows]
    if not cut.reads_texts:
        return found
    with_text = np.flatnonzero(inputs[spec.HAS_TEXT].numpy())
    if not len(with_text):
        return found
    tokenizer = predictor.preprocessor.tokenizer
    part, states, target = tf.nest.map_structure(
        lambda tensor: tf.gather(tensor, with_text), (inputs, states, target)
    )
    scores, gaps = compute_piece_scores(
        cut, part, states, target, tokenizer.pad_token_id
    )
    token_ids = part[spec.TOKEN_IDS].numpy()
    lengths = part[spec.PADDING_MASK].numpy().sum(axis=1)
    for i, place in enumerate(with_text.tolist()):
        inner = slice(1, lengths[i] - 1)  # between [CLS] and [SEP]
        text = source.texts[rows[place]]
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        words = merge_pieces(text, token_ids[i, inner], scores[i, inner], tokenizer)
        found[place] = {
            "words": tuple(WordScore(*word) for word in words),
            "completeness_gap": float(gaps[i]),
        }
    return found


def _compute_shares(
    cut: CutModel, inputs: dict[str, Any], states: dict[str, Any], target: Any
) -> list[tuple[float | None, float | None]]:
    """Returns the shares of image and text of each row."""
    if cut.reads_images and cut.reads_texts:
        images, texts = compute_contributions(cut, inputs, states, target)
        pairs = zip(images.numpy().tolist(), texts.numpy().tolist(), strict=True)
        return [compute_shares(image, text) for image, text in pairs]
    key = spec.HAS_IMAGE if cut.reads_images else spec.HAS_TEXT
    alone = (1.0, 0.0) if cut.reads_images else (0.0, 1.0)
    present = inputs[key].numpy().tolist()
    return [alone if is_there else (None, None) for is_there in present]


def _check_targets(targets: np.ndarray, num_rows: int, classes: Sequence[str]) -> None:
    if targets.shape != (num_rows,):
        raise ValueError(
            f"Expected a target for each of {num_rows} rows. Received: an array of "
            f"shape {targets.shape}"
        )
    if num_rows and not 0 <= targets.min() <= targets.max() < len(classes):
        raise ValueError(
            f"Targets must be classes, 0 to {len(classes) - 1}. Received: "
            f"{targets.min()} to {targets.max()}"
        )
