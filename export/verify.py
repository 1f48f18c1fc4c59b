"""Checks an exported model against its run in a fresh process, and times it.

python -m export.verify --model=runs/openclipart/export --run=runs/openclipart

Writes `assets.extra/verify.json` into the model's folder. Exits with 1 if the model
does not load, does not answer as the run does, or lies beside files of another one.
"""

import os
import sys
from collections.abc import Sequence

import absl.logging
from absl import app, flags

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "The SavedModel, or the folder with its versions: then the newest.",
    required=True,
)
_RUN = flags.DEFINE_string(
    "run", None, "The run that the model was exported from.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Verifies the model that the flags name; exits with 1 where that fails."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    # A server on a CPU is what the model is compared and timed for.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.serving.verification import VerificationError, verify_export

    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        folder, found = verify_export(_MODEL.value, _RUN.value)
    except (VerificationError, ValueError, OSError) as error:
        sys.exit(f"python -m export.verify: {error}")  # on standard error, exit code 1
    print(f"{folder}\n{found}")


if __name__ == "__main__":
    app.run(main)
