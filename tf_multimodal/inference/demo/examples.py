"""Pairs of the run's own data to click on."""

import dataclasses
import io
import sys
from pathlib import Path

import numpy as np
import PIL.Image

from tf_multimodal.data import files, spec
from tf_multimodal.data.source import Source
from tf_multimodal.inference import run_reader
from tf_multimodal.inference.predictor import Predictor

_SPLIT = "test"
_CANDIDATES = 2  # looked at for each that is shown, since some may be bad


@dataclasses.dataclass(frozen=True)
class Example:
    """A pair to try the model on.

    Attributes:
        image: path of a copy of the image; None: there is none.
        text: the text; may be empty.
    """

    image: str | None
    text: str


def choose_examples(predictor: Predictor, folder: Path, count: int) -> list[Example]:
    """Returns good pairs of the run's test split, of as many classes as there are.

    Without the run's data there are none, which is said on stderr.

    Args:
        predictor: of the run.
        folder: that images are copied to.
        count: how many, at most.
    """
    if not count:
        return []
    run = run_reader.read_run(predictor.run_dir)
    try:
        source = run_reader.load_run_source(run)
        rows = _choose_rows(source, _CANDIDATES * count)
        status = predictor.predict_source(source, rows).status
    except (ValueError, OSError) as error:
        print(f"No examples: {error}", file=sys.stderr)
        return []
    good = rows[[name == spec.OK for name in status]]
    modalities = predictor.preprocessor.modalities
    return [
        Example(
            _copy_image(source, int(row), folder) if "image" in modalities else None,
            _read_text(source, int(row)) if "text" in modalities else "",
        )
        for row in good[:count]
    ]


def _choose_rows(source: Source, count: int) -> np.ndarray:
    """Returns rows of the test split, the first of each class before a second one."""
    indices = source.get_indices(_SPLIT)
    labels = source.labels[indices]
    turn = np.zeros(len(indices), np.int64)  # how many of its class came before
    for label in np.unique(labels):
        mine = labels == label
        turn[mine] = np.arange(mine.sum())
    return indices[np.lexsort((indices, turn))][:count]


def _copy_image(source: Source, row: int, folder: Path) -> str | None:
    image = source.images[row]
    if not len(image):
        return None
    content = files.read_file(image) if isinstance(image, str) else image
    with PIL.Image.open(io.BytesIO(content)) as picture:
        suffix = str(picture.format).lower()
    path = folder / f"{row}.{suffix}"
    path.write_bytes(content)
    return str(path)


def _read_text(source: Source, row: int) -> str:
    text = source.texts[row]
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
