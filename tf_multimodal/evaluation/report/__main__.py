"""Writes one page about a trained run: does the text help, where, when is it wrong.

    python -m tf_multimodal.evaluation.report --run=DIR

Writes to DIR/evaluation/report: `test.html`, which needs no other file and no network,
`test.json` with every figure in it, and the pictures as PNG in `test/`. Fits the
temperature of the probabilities on the validation split: DIR/calibration.json, which
predict, evaluate and export read from then on. TensorFlow is imported by the functions,
so that `--help` answers at once.
"""

import os
import sys
from pathlib import Path

from absl import app, flags

from tf_multimodal.data import spec

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run", None, "Directory of a training run.", required=True)
    flags.DEFINE_enum("split", "test", spec.SPLITS, "Rows to report on.")
    flags.DEFINE_string("output", None, "Folder to write; else DIR/evaluation/report.")
    for modality in ("image", "text"):
        flags.DEFINE_string(
            f"{modality}_run",
            None,
            f"A run with model.modalities={modality} on the same data, as the rival.",
        )
    flags.DEFINE_integer("batch_size", 64, "Rows of a batch.", lower_bound=1)
    flags.DEFINE_integer("explain", 12, "Rows to explain; 0: none.", lower_bound=0)


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.evaluation.report.build import report_run

    alone = {"image": FLAGS.image_run, "text": FLAGS.text_run}
    try:
        report = report_run(
            FLAGS.run,
            FLAGS.split,
            output=None if FLAGS.output is None else Path(FLAGS.output),
            alone={name: path for name, path in alone.items() if path},
            explained=FLAGS.explain,
            batch_size=FLAGS.batch_size,
        )
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"\n{report.sentence}\n\nReport: {report.path}")
    return 0


if __name__ == "__main__":
    define_flags()
    app.run(main)
