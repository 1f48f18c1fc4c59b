"""Trains an image-and-text classifier.

    python train.py --config=configs/openclipart.py --workdir=runs/openclipart
    python train.py --config=configs/manifest.py --config.data.manifest=pairs.csv

Any setting of tf_multimodal/config.py can be given as --config.KEY=VALUE. The same
command again goes on where it stopped. Exit code 75: interrupted by a signal or by the
loss of another worker; the same command goes on.
"""

import importlib.util
import os
import pathlib
import sys

from absl import app, flags
from ml_collections import config_flags

from tf_multimodal.command_line import exit_with_message, read_config, run_command

DEFAULT_CONFIG = pathlib.Path(__file__).parent / "configs" / "openclipart.py"

CONFIG = config_flags.DEFINE_config_file(
    "config", str(DEFAULT_CONFIG), "Python file with get_config().", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run. Default: runs/NAME_OF_THE_CONFIG."
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Expected flags alone. Received: {argv[1:]}")
    config = read_config(CONFIG.value)
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    workdir = WORKDIR.value or f"runs/{name}"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if config.distribution == "jax":
        if not importlib.util.find_spec("jax"):
            sys.exit(
                "config.distribution='jax' needs JAX: pip install 'tf_multimodal[jax]'"
            )
        os.environ["KERAS_BACKEND"] = "jax"  # read when Keras is imported
    # TensorFlow takes seconds to import: --help and wrong flags should not wait.
    from tf_multimodal.training import run
    from tf_multimodal.training.interruption import (
        EXIT_INTERRUPTED,
        Interrupted,
        LostWorker,
    )

    try:
        run.run(config, workdir)
    except (Interrupted, LostWorker) as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except run.EXPECTED_ERRORS as error:
        exit_with_message(error)
    print(
        "Next:\n"
        f"  python -m tf_multimodal.evaluation.evaluate --run={workdir} --split=test\n"
        f"  python -m export --run={workdir} --output={workdir}/export"
    )


if __name__ == "__main__":
    run_command(main)
