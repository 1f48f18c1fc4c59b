"""Fills the missing texts of a manifest with captions of its images.

    python -m tf_multimodal.data.caption --manifest=pairs.csv \
        --preset=pali_gemma_3b_mix_224 --output=pairs.captioned.csv

The new manifest has the columns of the old one, which stays as it is, and two more:
`text_source`, `original` or `generated`, and `text_model`, which names the model. Rows
that still have no text are in pairs.captioned.left_empty.csv, each with its reason. A
command that was stopped goes on where it was. TensorFlow is imported by the functions,
so that `--help` answers at once.
"""

import os
import sys

from absl import app, flags

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "manifest", None, "CSV, TSV, JSON lines or Parquet file.", required=True
    )
    flags.DEFINE_string(
        "preset",
        None,
        "KerasHub image-to-text model (PaliGemma, Gemma 3): preset's name or folder.",
        required=True,
    )
    flags.DEFINE_string(
        "output", None, "File to write, beside the manifest; else NAME.captioned.*."
    )
    flags.DEFINE_string("image_column", "image", "Column of the image.")
    flags.DEFINE_string("text_column", "text", "Column of the text; made if missing.")
    flags.DEFINE_enum(
        "image_encoding",
        "path",
        ("path", "bytes", "base64"),
        "What the image column holds.",
    )
    flags.DEFINE_string("prompt", None, "What the model is asked; else by the model.")
    flags.DEFINE_string("dtype", None, "Type of the weights, e.g. bfloat16.")
    flags.DEFINE_integer("batch_size", 8, "Images at once.", lower_bound=1)
    flags.DEFINE_integer("max_tokens", 32, "Tokens of a caption.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        _run()
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _run() -> None:
    from tf_multimodal.data.caption.filling import Filling, choose_output

    filling = Filling(
        FLAGS.manifest,
        FLAGS.output or choose_output(FLAGS.manifest),
        image_column=FLAGS.image_column,
        text_column=FLAGS.text_column,
        image_encoding=FLAGS.image_encoding,
    )
    # The model takes minutes to load: what is wrong with the files is said before.
    from tf_multimodal.data.caption.captioner import Captioner

    captioner = Captioner(
        FLAGS.preset,
        prompt=FLAGS.prompt,
        max_tokens=FLAGS.max_tokens,
        batch_size=FLAGS.batch_size,
        dtype=FLAGS.dtype,
    )
    print(filling.fill(captioner).describe())


if __name__ == "__main__":
    define_flags()
    app.run(main)
