"""A trained run's model, ready to predict."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from tf_multimodal.data.source import Source
from tf_multimodal.inference import calibration_file, run_reader
from tf_multimodal.inference.predictions import (
    BATCH_SIZE,
    Predictions,
    predict_batches,
    predict_source,
)
from tf_multimodal.inference.safe_preset import check_preset
from tf_multimodal.models.image_text_classifier import ImageTextClassifier


class Predictor:
    """A run's best model, ready to predict.

    Attributes:
        run_dir: the run's directory.
        config: the run's full config.
        classes: names of the classes; column `i` of the probabilities is
            `classes[i]`.
        model: the `ImageTextClassifier`.
        preprocessor: the model's preprocessor.
        temperature: divides the logits before they become probabilities; 1: those of
            the model as it was trained.
    """

    def __init__(
        self,
        model: ImageTextClassifier,
        classes: Sequence[str],
        config: ml_collections.ConfigDict,
        run_dir: Path,
        temperature: float = 1.0,
    ) -> None:
        self.model = model
        self.preprocessor: Any = model.preprocessor
        self.classes = tuple(classes)
        self.config = config
        self.run_dir = run_dir
        self.temperature = temperature

    @classmethod
    def from_run(
        cls, run_dir: str | Path, dtype: str = "float32", calibrate: bool = True
    ) -> "Predictor":
        """Loads the model in `best/` of a run directory.

        Args:
            run_dir: the training run's directory.
            dtype: precision of the whole model; the weights are converted.
            calibrate: take the temperature of the run's calibration.json, if it has
                one for these weights.

        Raises:
            RunError: the directory is not a run with a model, its class names are
                not those of the model, or its calibration.json is damaged.
            UnsafePresetError: the preset names code that is not of Keras, KerasHub
                or this project.
        """
        run = run_reader.read_run(run_dir)
        check_preset(run.preset_dir)
        calibration = calibration_file.read_calibration(run_dir) if calibrate else None
        model = ImageTextClassifier.from_preset(str(run.preset_dir), dtype=dtype)
        if model.num_classes != len(run.classes):
            raise run_reader.RunError(
                f"{run.run_dir}/labels.txt names {len(run.classes)} classes, the "
                f"model in best/ has {model.num_classes}. The two files are not of "
                "the same run."
            )
        # A few hundred rows do not pay for the compilation of XLA.
        model.compile(jit_compile=False)
        temperature = calibration.temperature if calibration else 1.0
        return cls(model, run.classes, run.config, run.run_dir, temperature)

    def predict_batches(
        self, source: Source, indices: np.ndarray | None = None, **options: Any
    ) -> Iterator[Predictions]:
        """Yields the predictions for rows of a source, batch by batch.

        Args:
            source: the rows.
            indices: int64 [n], which of them, in order; None: all.
            **options: `batch_size`, `mask_images`, `mask_texts`.
        """
        rows = np.arange(len(source)) if indices is None else indices
        options["temperature"] = self.temperature
        return predict_batches(self.model, self.preprocessor, source, rows, **options)

    def predict_source(
        self, source: Source, indices: np.ndarray | None = None, **options: Any
    ) -> Predictions:
        """Returns the predictions for rows of a source; see `predict_batches`."""
        rows = np.arange(len(source)) if indices is None else indices
        options["temperature"] = self.temperature
        return predict_source(self.model, self.preprocessor, source, rows, **options)

    def predict(
        self,
        images: Sequence[bytes | None],
        texts: Sequence[bytes | str | None],
        batch_size: int = BATCH_SIZE,
    ) -> Predictions:
        """Returns the predictions for encoded images and their texts.

        Args:
            images: n encoded images; None or empty: no image.
            texts: n texts, str or UTF-8; None or blank: no text.
            batch_size: rows of a batch; the last one is padded.

        Raises:
            ValueError: there are not as many images as texts.
        """
        source = make_source(images, texts, self.classes)
        return self.predict_source(source, batch_size=batch_size)


def make_source(
    images: Sequence[bytes | None],
    texts: Sequence[bytes | str | None],
    classes: Sequence[str] = (),
) -> Source:
    """Returns a source over pairs in memory, without labels.

    Args:
        images: n encoded images; None or empty: no image.
        texts: n texts, str or UTF-8; None or blank: no text. One that is not UTF-8
            stays bytes, and its row gets a status.
        classes: names of the classes.

    Raises:
        ValueError: there are not as many images as texts.
    """
    rows = len(images)
    if rows != len(texts):
        raise ValueError(
            f"Expected as many images as texts. Received: {rows} and {len(texts)}"
        )
    numbers = np.arange(rows, dtype=np.int64)
    names = _make_column(str(number) for number in numbers)
    return Source(
        name="input",
        classes=tuple(classes),
        images=_make_column(image or b"" for image in images),
        texts=_make_column(_decode_text(text or "") for text in texts),
        labels=np.full(rows, -1, np.int32),
        weights=np.ones(rows, np.float32),
        ids=names,
        groups=names,
        splits=np.full(rows, "test", object),
        files=_make_column("(bytes)" if image else "" for image in images),
        rows=numbers,
    )


def _decode_text(text: bytes | str) -> bytes | str:
    """Returns the text as str, or as bytes where it is not UTF-8."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _make_column(values: Iterable[Any]) -> np.ndarray:
    """Returns an object array; numpy would cut zero bytes off a bytes array."""
    items = list(values)
    column = np.empty(len(items), object)
    column[:] = items
    return column
