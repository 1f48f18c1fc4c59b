"""One pass over a split: what the model says of each row, whole and in parts."""

import dataclasses
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

from tf_multimodal.data import files, labels, pipeline, spec
from tf_multimodal.data.inputs import make_text_inputs, mask_modalities
from tf_multimodal.data.source import Source
from tf_multimodal.evaluation import label_set_metrics, plots
from tf_multimodal.inference.predictions import compute_probabilities, predict_logits
from tf_multimodal.inference.predictor import Predictor

BOTH, IMAGE, TEXT = "both", "image", "text"
WORDS_MASKED, TEXT_WORDS_MASKED = "words_masked", "text_words_masked"
BATCH_SIZE = 64
_THREADS = 8  # that read headers of images
_EXIF_ORIENTATION, _TURNED = 274, range(5, 9)  # width and height change places
_JPEG_QUALITY = 80


@dataclasses.dataclass(frozen=True)
class Collected:
    """A split's rows and what the model says of them.

    Attributes:
        run_dir: the run's directory.
        predictor: its model.
        source: its rows.
        split: name of the split.
        index: int64 [n], rows of the source; position i of all else is of row index[i].
        truth: int64 [n]; with label sets float32 [n, c].
        weights: float32 [n].
        groups: object [n] of str; rows of a group are near-duplicates.
        classes: names of the classes.
        logits: float32 [n, c] by variant, not calibrated. `both`: as predicted. Of a
            model of two modalities also `image` (the text masked), `text` (the image
            masked), `words_masked` (the classes' own words blanked in the text) and
            `text_words_masked` (the same with the image masked).
        temperature: that divides logits before they become probabilities.
        status: object [n] of str, each one of `spec.STATUSES`.
        sizes: int32 [n, 2], width and height of the images, upright (EXIF of JPEGs
            alone); 0: none, or not readable.
    """

    run_dir: Path
    predictor: Predictor
    source: Source
    split: str
    index: np.ndarray
    truth: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    classes: tuple[str, ...]
    logits: dict[str, np.ndarray]
    temperature: float
    status: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @property
    def multi_label(self) -> bool:
        """Whether a row may have several labels, or none."""
        return self.source.label_sets is not None

    @property
    def modalities(self) -> str:
        """What the model reads: `image`, `text` or `image_text`."""
        return self.predictor.preprocessor.modalities

    def probabilities(self, variant: str = BOTH) -> np.ndarray:
        """Returns calibrated probabilities, float32 [n, c]."""
        logits = self.logits[variant] / self.temperature
        return compute_probabilities(logits, self.predictor.model.activation)

    def correct(self, variant: str = BOTH) -> np.ndarray:
        """Returns, bool [n], which rows are right; of label sets, in every class."""
        if self.multi_label:
            probabilities = self.probabilities(variant)
            return label_set_metrics.find_correct(self.truth, probabilities)
        return self.logits[variant].argmax(axis=1) == self.truth

    def read_image(self, position: int) -> np.ndarray | None:
        """Returns a row's pixels uint8 [h, w, 3]; None without a usable image."""
        image = self.source.images[int(self.index[position])]
        return plots.read_image(image, self.predictor.preprocessor.max_image_px)

    def get_thumbnail(self, position: int, side_px: int = 96) -> bytes | None:
        """Returns a small JPEG of a row's image; None where there is none to show.

        Args:
            position: of the row, 0 to n - 1.
            side_px: the longer side is at most so many pixels.
        """
        pixels = self.read_image(position)
        return None if pixels is None else make_jpeg(pixels, side_px)


def collect(
    predictor: Predictor, source: Source, split: str, batch_size: int = BATCH_SIZE
) -> Collected:
    """Reads every row of a split once and asks the model in every variant.

    Args:
        predictor: of the run.
        source: the run's rows, with labels.
        split: `train`, `validation` or `test`.
        batch_size: rows of a batch.
    """
    index = source.get_indices(split)
    preprocessor = predictor.preprocessor
    dataset = pipeline.make_eval_dataset(
        source, index, preprocessor, batch_size=batch_size
    )
    mask_words = labels.make_label_masker(source.classes)
    logits: dict[str, list[np.ndarray]] = {}
    status: list[str] = []
    for batch in dataset:
        rows = batch[spec.INDEX].numpy()
        kept = rows >= 0
        texts = [_decode_text(source.texts[i]) if i >= 0 else "" for i in rows.tolist()]
        masked_texts = tf.constant([mask_words(text).encode() for text in texts])
        variants = make_variants(batch[spec.INPUTS], masked_texts, preprocessor)
        for name, inputs in variants:
            found = predict_logits(predictor.model, inputs)[kept]
            logits.setdefault(name, []).append(np.asarray(found, np.float32))
        status += [spec.STATUSES[code] for code in batch[spec.STATUS].numpy()[kept]]
    return Collected(
        run_dir=predictor.run_dir,
        predictor=predictor,
        source=source,
        split=split,
        index=index,
        truth=source.get_truth(index),
        weights=source.weights[index],
        groups=source.groups[index],
        classes=predictor.classes,
        logits={name: np.concatenate(parts) for name, parts in logits.items()},
        temperature=predictor.temperature,
        status=np.array(status, object),
        sizes=_read_sizes(source, index),
    )


def make_variants(
    x: dict[str, Any], masked_texts: tf.Tensor, preprocessor: Any
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and the inputs of each variant of a batch.

    Args:
        x: the inputs by key of `spec`.
        masked_texts: string [b], the texts without the classes' own words.
        preprocessor: the model's.
    """
    yield BOTH, x
    if preprocessor.modalities != "image_text":
        return
    flag = x[spec.HAS_TEXT]
    nothing, everything = tf.zeros_like(flag), tf.ones_like(flag)
    yield IMAGE, mask_modalities(x, preprocessor, nothing, everything)
    yield TEXT, mask_modalities(x, preprocessor, everything, nothing)
    tokens = make_text_inputs(masked_texts, preprocessor)
    # A text that was not usable stays so.
    masked = {**x, **tokens}
    masked = mask_modalities(masked, preprocessor, nothing, ~flag)
    yield WORDS_MASKED, masked
    yield TEXT_WORDS_MASKED, mask_modalities(masked, preprocessor, everything, nothing)


def make_jpeg(pixels: np.ndarray, side_px: int | None = None) -> bytes:
    """Returns a JPEG of pixels uint8 [h, w, 3], its longer side at most `side_px`."""
    picture = PIL.Image.fromarray(pixels)
    if side_px is not None:
        picture.thumbnail((side_px, side_px))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def _decode_text(text: str | bytes) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _read_sizes(source: Source, index: np.ndarray) -> np.ndarray:
    """Returns width and height from the images' headers, int32 [n, 2]."""
    with ThreadPoolExecutor(_THREADS) as threads:
        sizes = list(
            threads.map(lambda i: _read_size(source.images[i]), index.tolist())
        )
    return np.array(sizes, np.int32).reshape(len(index), 2)


def _read_size(image: bytes | str) -> tuple[int, int]:
    if not len(image):
        return 0, 0
    try:
        opened = files.open_file(image) if isinstance(image, str) else io.BytesIO(image)
        with opened as stream, PIL.Image.open(stream) as picture:
            width, height = picture.size
            # Of other formats Pillow would decode the pixels for it.
            is_jpeg = picture.format == "JPEG"
            turn = picture.getexif().get(_EXIF_ORIENTATION) if is_jpeg else None
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return 0, 0
    is_turned = isinstance(turn, int) and turn in _TURNED
    return (height, width) if is_turned else (width, height)
