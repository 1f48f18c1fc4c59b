"""Exports a trained run as a SavedModel, and checks it in a fresh process.

python -m export --run=runs/openclipart --output=runs/openclipart/export
"""

import logging
import os
import sys
from collections.abc import Sequence

import absl.logging
from absl import app, flags

_RUN = flags.DEFINE_string("run", None, "The run's directory.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder that holds the versions 1/, 2/, ...; default: export/ in the run.",
)


def main(argv: Sequence[str]) -> None:
    """Exports the run that the flags name; exits with 1 where that fails."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    # Traced beside a GPU, the graph would hold cuDNN operations, and the two
    # sides of the check would round differently.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.serving.release import describe_release, release_run
    from tf_multimodal.serving.verification import VerificationError

    # TensorFlow tells where it wrote, which is not where the version ends up.
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        release = release_run(_RUN.value, _OUTPUT.value or f"{_RUN.value}/export")
    except (VerificationError, ValueError, OSError) as error:
        sys.exit(f"python -m export: {error}")  # on standard error, exit code 1
    print(describe_release(release))


if __name__ == "__main__":
    app.run(main)
