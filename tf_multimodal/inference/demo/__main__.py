"""A local page: drop an image, type a text, see classes and what they rest on.

    python -m tf_multimodal.inference.demo --run=DIR

The page is served to this machine alone (127.0.0.1) and asks for nothing from anywhere
else; what is dropped there is gone when the command ends (Ctrl-C). Needs the extra
`demo`. TensorFlow and gradio are imported by the functions, so that `--help` answers at
once.
"""

import importlib.util
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from absl import app, flags, logging

FLAGS = flags.FLAGS
HOST = "127.0.0.1"


class DemoError(ValueError):
    """The page cannot be opened; the message says why and what to do."""


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run", None, "Directory of a training run.", required=True)
    flags.DEFINE_integer(
        "port", 7860, f"Port of {HOST}.", lower_bound=1, upper_bound=65535
    )
    flags.DEFINE_integer(
        "examples",
        8,
        "Pairs of the run's test split to click on; 0: its data are not read.",
        lower_bound=0,
    )


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument: {argv[1]!r}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)
    # Both end the command the same way; a shell starts jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(FLAGS.run, FLAGS.port, FLAGS.examples)
    except KeyboardInterrupt:
        print("Ended.")
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def serve(run_dir: str, port: int, num_examples: int) -> None:
    """Serves the page until the process is interrupted.

    Args:
        run_dir: the training run's directory.
        port: of 127.0.0.1.
        num_examples: how many pairs of the run's test split are offered.

    Raises:
        DemoError: gradio is not installed, or the port is taken.
        ValueError: the run cannot be used.
    """
    if importlib.util.find_spec("gradio") is None:
        raise DemoError(
            "The demo needs the package gradio: pip install 'tf_multimodal[demo]'"
        )
    check_port(port)
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        _keep_local(folder)
        from tf_multimodal.inference.demo.examples import choose_examples
        from tf_multimodal.inference.demo.page import make_page, open_page
        from tf_multimodal.inference.predictor import Predictor

        predictor = Predictor.from_run(run_dir)
        examples = choose_examples(predictor, Path(folder), num_examples)
        page = make_page(predictor, examples)
        open_page(page, HOST, port)
        print(f"Open http://{HOST}:{port}/ (Ctrl-C ends it).", flush=True)
        try:
            while True:
                signal.pause()
        finally:
            page.close(verbose=False)


def check_port(port: int) -> None:
    """Looks whether a port is free, before a model is loaded for nothing.

    Raises:
        DemoError: it is taken, or this user may not open it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoError(
                f"Port {port} of {HOST} cannot be opened: {error.strerror}. Name "
                "another one: --port=PORT"
            ) from error


def _keep_local(folder: str) -> None:
    """Keeps gradio from the network, and its files in `folder`; before its import."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # It calls itself as it starts, which must not go through a proxy.
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))


if __name__ == "__main__":
    define_flags()
    app.run(main)
