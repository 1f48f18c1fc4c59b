"""Writes what an operator needs around an exported model to serve it.

python -m export.bundle --model=runs/openclipart/export --output=bundle
"""

import os
import sys
from collections.abc import Sequence

from absl import app, flags

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Folder of the versions: the newest is served. Or one version: that one is.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder to write: missing or empty.", required=True
)
_NAME = flags.DEFINE_string(
    "name", None, "What callers ask for; default: runs/NAME/export is NAME."
)


def main(argv: Sequence[str]) -> None:
    """Writes the bundle that the flags name; exits with 1 where that fails."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from tf_multimodal.serving.bundle.bundle import write_bundle

    try:
        model = write_bundle(_MODEL.value, _OUTPUT.value, _NAME.value)
    except (ValueError, OSError) as error:
        sys.exit(f"python -m export.bundle: {error}")
    print(
        f"Wrote {_OUTPUT.value}: version {model.version} of {model.model_dir} as "
        f"{model.name}, for TensorFlow Serving {model.server_version} or newer.\n"
        f"Start it: cd {_OUTPUT.value} && docker compose up --detach --wait\n"
        "Requests, versions and Kubernetes: README.md there."
    )


if __name__ == "__main__":
    app.run(main)
