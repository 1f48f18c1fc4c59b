r"""Draws what a trained run's answer for an image and its text rests on.

    python -m tf_multimodal.inference.explain --run=DIR --image=a.jpg \
        --text="a cat" --output=why.png

The PNG shows the image, where it speaks for the class (Grad-CAM), what each word adds
(integrated gradients), the probabilities, and the share of either modality. `--class`
asks about another class than the most probable one. An image that cannot be used is
named and masked. TensorFlow is imported by the functions, so that `--help` answers at
once.
"""

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import app, flags

if TYPE_CHECKING:
    from tf_multimodal.inference.attributions.explanation import Explanation

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run", None, "Directory of a training run.", required=True)
    flags.DEFINE_string("image", None, "Image file.")
    flags.DEFINE_string("text", None, "Text beside the image.")
    flags.DEFINE_string("output", None, "PNG file to write.", required=True)
    flags.DEFINE_string("class", None, "Class to explain; else the most probable one.")


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    if FLAGS.image is None and FLAGS.text is None:
        raise app.UsageError("Give --image and/or --text.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        explanation = explain_pair(
            FLAGS.run, FLAGS.image, FLAGS.text, FLAGS.output, FLAGS["class"].value
        )
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {FLAGS.output}: {describe(explanation)}")
    return 0


def explain_pair(
    run_dir: str | Path,
    image: str | None,
    text: str | None,
    output: str | Path,
    class_name: str | None = None,
) -> "Explanation":
    """Writes a picture of the explanation for one image file and its text.

    Args:
        run_dir: the training run's directory.
        image: path of the image file; None: no image. One that cannot be used is
            named on stderr and masked.
        text: the text; None: no text.
        output: the PNG file.
        class_name: the class to explain; None: the most probable one.

    Returns:
        What the picture shows.

    Raises:
        ValueError: the output does not end in .png, the run cannot be used, it has no
            such class, or there is nothing of what its model reads.
    """
    if Path(output).suffix.lower() != ".png":
        raise ValueError(f"--output must end in .png. Received: {output}")

    import numpy as np

    from tf_multimodal.data import spec
    from tf_multimodal.inference.attributions.explanation import explain_rows
    from tf_multimodal.inference.attributions.picture import write_explanation
    from tf_multimodal.inference.predictor import Predictor, make_source

    predictor = Predictor.from_run(run_dir)
    targets = None
    if class_name is not None:
        targets = [_find_class(class_name, predictor.classes)]
    source = make_source([None], [text], predictor.classes)
    paths = np.array([image or ""], object)
    source = dataclasses.replace(source, images=paths, files=paths)
    (explanation,) = explain_rows(predictor, source, [0], targets)
    message = f"{image or 'The pair'}: {explanation.reason}"
    if explanation.image_share is None and explanation.status != spec.OK:
        raise ValueError(f"There is nothing to explain. {message}")
    if explanation.status != spec.OK:
        print(message, file=sys.stderr)
    write_explanation(explanation, predictor.classes, output)
    return explanation


def describe(explanation: "Explanation") -> str:
    """Returns the shares and the strongest words of an explanation, on one line."""
    parts = []
    if explanation.image_share is not None and explanation.text_share is not None:
        parts.append(
            f"image {explanation.image_share:.0%}, text {explanation.text_share:.0%}"
        )
    words = sorted(explanation.words, key=lambda word: -abs(word.score))[:3]
    if words:
        scores = ", ".join(f"{word.text} {word.score:+.2f}" for word in words)
        parts.append(f"strongest words: {scores}")
    return "; ".join(parts) + "."


def _find_class(name: str, classes: tuple[str, ...]) -> int:
    if name not in classes:
        names = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
        raise ValueError(f"--class must be one of {names}. Received: {name!r}")
    return classes.index(name)


if __name__ == "__main__":
    define_flags()
    app.run(main)
