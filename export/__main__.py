"""Exports a trained run, and checks what was written in a fresh process.

python -m export --run=runs/openclipart --output=runs/openclipart/export

Formats: `saved_model` for TensorFlow Serving; `keras_preset` for KerasHub's
`from_preset`; `onnx` and `tflite` for their runtimes, from prepared tensors on.
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
    "Folder that holds the versions 1/, 2/, ...; default: export/ in the run, or "
    "export_FORMAT/ for other formats than the SavedModel.",
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "keras_preset", "onnx", "tflite"],
    "What is written.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    ["float32", "bfloat16"],
    "Of weights and arithmetic; bfloat16 for saved_model and keras_preset only. "
    "Scores come out in float32.",
)
_INTENDED_USE = flags.DEFINE_string(
    "intended_use", None, "What the model is for, for its model card."
)


def main(argv: Sequence[str]) -> None:
    """Exports the run that the flags name; exits with 1 where that fails."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    # Traced beside a GPU, the graph would hold cuDNN operations, and the two
    # sides of the check would round differently.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.serving.conversion import ConversionError
    from tf_multimodal.serving.release import release_run
    from tf_multimodal.serving.verification import VerificationError

    # TensorFlow tells where it wrote, which is not where the version ends up.
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        release = release_run(
            _RUN.value,
            _OUTPUT.value,
            model_format=_FORMAT.value,
            precision=_PRECISION.value,
            intended_use=_INTENDED_USE.value,
        )
    except (VerificationError, ConversionError, ValueError, OSError) as error:
        sys.exit(f"python -m export: {error}")  # on standard error, exit code 1
    print(release.summary)


if __name__ == "__main__":
    app.run(main)
