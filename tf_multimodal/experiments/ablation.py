"""Does the text help? Grouped cross-validation of image, text and both.

    python -m tf_multimodal.experiments.ablation --config=configs/openclipart.py \
        --folds=5 --workdir=runs/ablation

Every variant has the same folds, data, seeds, steps and batches; no row is tested by
a model that has seen a near-duplicate of it, and none chooses a stopping point: the
weights are those of the last step. Writes `table.md` and `table.json`. The same
command goes on where it was interrupted.
"""

import os
import pathlib

from absl import app, flags
from ml_collections import config_flags

from tf_multimodal.command_line import exit_with_message, read_config, run_command
from tf_multimodal.experiments.variants import GAINS, VARIANTS

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags."""
    root = pathlib.Path(__file__).parents[2]
    config_flags.DEFINE_config_file(
        "config",
        str(root / "configs" / "openclipart.py"),
        "Python file with get_config().",
        lock_config=True,
    )
    flags.DEFINE_string("workdir", "runs/ablation", "Directory for runs and tables.")
    flags.DEFINE_integer("folds", 5, "Parts of the cross-validation.", lower_bound=2)
    flags.DEFINE_integer(
        "workers", min(8, os.cpu_count() or 1), "Processes.", lower_bound=1
    )
    flags.DEFINE_string(
        "reuse_image",
        None,
        "Workdir of an ablation over the same images: its variant `image` is taken "
        "over, which saves time where only the texts differ.",
    )


def main(argv: list[str]) -> None:
    """Runs the command."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    config = read_config(FLAGS.config)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.experiments import cross_validation, table

    try:
        folds = cross_validation.run_folds(
            config,
            VARIANTS,
            pathlib.Path(FLAGS.workdir),
            FLAGS.folds,
            FLAGS.workers,
            pathlib.Path(FLAGS.reuse_image) if FLAGS.reuse_image else None,
        )
        text = table.write_table(folds, VARIANTS, GAINS, config, FLAGS.workdir)
    except (ValueError, OSError, RuntimeError) as error:
        exit_with_message(error)
    print(f"\n{text}\n{FLAGS.workdir}/table.md and table.json hold this table.")


if __name__ == "__main__":
    define_flags()
    run_command(main)
