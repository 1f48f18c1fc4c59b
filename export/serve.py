"""Serves an exported model for development: TensorFlow Serving's gRPC and REST.

python -m export.serve --model=runs/openclipart/export
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

import absl.logging
from absl import app, flags

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Folder of the versions: the newest is served. Or one version: that one is.",
    required=True,
)
_NAME = flags.DEFINE_string(
    "name", None, "What callers ask for; default: runs/NAME/export is NAME."
)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
_REST_PORT = flags.DEFINE_integer(
    "rest_port", 8501, "Port of HTTP; 0: any free one.", 0, 65535
)
_GRPC_PORT = flags.DEFINE_integer(
    "grpc_port", 8500, "Port of gRPC; 0: any free one.", 0, 65535
)
_MAX_REQUEST_MB = flags.DEFINE_float(
    "max_request_mb", 64, "Limit of a request in MB, text of JSON included.", 0.001
)


def main(argv: Sequence[str]) -> None:
    """Serves until SIGINT or SIGTERM; exits with 1 where it cannot start."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    # TensorFlow would take all of a GPU, from whatever trains on it.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a taken port is told below
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    from tf_multimodal.serving.server.description import describe_server
    from tf_multimodal.serving.server.development_server import DevelopmentServer

    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)
    try:
        server = DevelopmentServer(
            _MODEL.value,
            _NAME.value,
            _HOST.value,
            _REST_PORT.value,
            _GRPC_PORT.value,
            _MAX_REQUEST_MB.value,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"python -m export.serve: {error}")
    with server:
        print(describe_server(server), flush=True)
        ended.wait()
    print("Ended.")


if __name__ == "__main__":
    app.run(main)
