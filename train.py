"""Trains an image-and-text classifier.

    python train.py --config=configs/openclipart.py --workdir=runs/openclipart
    python train.py --config=configs/manifest.py --config.data.manifest=pairs.csv

Any setting of tf_multimodal/config.py can be given as --config.KEY=VALUE. The same
command again goes on where it stopped.
"""

import pathlib
import sys

from absl import app, flags
from ml_collections import config_flags

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
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    workdir = WORKDIR.value or f"runs/{name}"
    # TensorFlow takes seconds to import: --help and wrong flags should not wait.
    from tf_multimodal.training import run

    try:
        run.run(CONFIG.value, workdir)
    except run.EXPECTED_ERRORS as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(
        "Next:\n"
        f"  python -m tf_multimodal.evaluation.evaluate --run={workdir} --split=test\n"
        f"  python -m export --run={workdir} --output={workdir}/export"
    )


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags; an unknown config key is a message, not a traceback."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as error:
        cause = error.args[0]
        reason = cause.args[0] if isinstance(cause, KeyError) else cause
        sys.exit(f"There is no such config key: {reason}")


def run_main() -> None:
    """Entry point of the installed command."""
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    run_main()
