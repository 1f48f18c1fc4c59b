"""Damages requests in many ways and holds a SavedModel's answers against the rules.

    python -m benchmarks.fuzz_serving --model=runs/openclipart/export --requests=2000

No request may fail. Every row gets a status, the expected one where the damage leaves
no doubt, and probabilities; and in a batch it gets what it gets alone. The exit code
is 1 where that does not hold.
"""

import os
import sys
import time
from collections.abc import Sequence

from absl import app, flags

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Folder of the versions: the newest is asked. Or one version: that one is.",
    required=True,
)
_REQUESTS = flags.DEFINE_integer("requests", 2000, "Rows to ask for.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the damage and of the batches.")
_SHOWN = 20  # failures


def main(argv: Sequence[str]) -> None:
    """Prints the table and the failures."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the tokenizer's operations)

    from tf_multimodal.serving.fuzzing import describe, fuzz
    from tf_multimodal.serving.versions import find_version

    try:
        folder = find_version(_MODEL.value)
    except ValueError as error:
        sys.exit(f"benchmarks.fuzz_serving: {error}")
    signatures = tf.saved_model.load(str(folder)).signatures
    if not {"image_only", "text_only"} <= set(signatures):
        sys.exit(f"benchmarks.fuzz_serving: {folder} does not read image and text.")
    start = time.monotonic()
    report = fuzz(signatures, _REQUESTS.value, _SEED.value)
    print(describe(report))
    print(f"{time.monotonic() - start:.0f} s, TensorFlow {tf.__version__}.")
    for failure in report.failures[:_SHOWN]:
        print(failure, file=sys.stderr)
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    app.run(main)
