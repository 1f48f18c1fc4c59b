"""Latency of a whole SavedModel against its bare model plus the bare decoding.

    python -m benchmarks.serving --repeats=15

Builds ResNet50 at 224 px, a BERT of 6 layers and an LSTM with random weights, exports
them and measures all in turns in one process, on the CPU: a slow minute hits every
row alike. The bars: whole <= 1.15 (batch 1) and 1.1 (batch 32) times the bare model
plus the bare decoding. The exit code is 1 where a bar is not met.
"""

import logging
import os
import pathlib
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import absl.logging
from absl import app, flags

_REPEATS = flags.DEFINE_integer("repeats", 15, "Turns; the bars are set for 15.", 1)
_THREADS = flags.DEFINE_integer("threads", 0, "Of TensorFlow; 0: one a core.", 0)

BARS = {1: 1.15, 32: 1.1}  # by batch size
CALLS = {1: 8, 32: 1}  # of each row a turn
WHOLE, MODEL, FOLDED, DECODE = "whole", "bare model", "tensors", "bare decode"
TOLERANCE = 1e-5  # of a probability, whole against bare model

Calls = dict[str, Callable[[], Any]]


def main(argv: Sequence[str]) -> None:
    """Prints facts, a table and the bars."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from benchmarks.full_size_model import build_predictor, make_requests
    from tf_multimodal.serving.saved_model import write_saved_model

    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS.value)
    with tempfile.TemporaryDirectory() as folder:
        predictor = build_predictor(pathlib.Path(folder))
        version = pathlib.Path(folder) / "1"
        write_saved_model(predictor, version)
        served = tf.saved_model.load(str(version))
        requests = {size: make_requests(predictor, size) for size in BARS}
        calls = {size: make_calls(predictor, served, requests[size]) for size in BARS}
        print(describe_machine(requests[max(BARS)]), flush=True)
        times = measure(calls, _REPEATS.value)
    print(describe_times(times))
    lines, is_met = judge(times)
    print("\n".join(lines))
    sys.exit(0 if is_met else 1)


def make_calls(predictor: Any, served: Any, request: dict[str, Any]) -> Calls:
    """Returns what is measured, by name, and checks that whole and bare model agree.

    Args:
        predictor: has the Keras model as it was trained, nothing folded.
        served: the loaded SavedModel.
        request: `image_bytes` and `text` of one batch.
    """
    import tensorflow as tf

    signatures, preprocessor = served.signatures, predictor.preprocessor
    prepared = dict(signatures["preprocess"](**request))
    prepared.pop("status")
    bare_model = tf.function(
        lambda x: tf.nn.softmax(predictor.model(x, training=False))
    )

    def decode(image: Any) -> Any:
        return tf.io.decode_jpeg(image, channels=3)

    def over_images(function: Callable[[Any], Any], dtype: Any) -> Any:
        return tf.function(
            lambda images: tf.map_fn(
                function,
                images,
                fn_output_signature=dtype,
                parallel_iterations=os.cpu_count(),
            )
        )

    # The shape of what was decoded, for images of several sizes make no batch.
    bare_decode = over_images(lambda image: tf.shape(decode(image)), tf.int32)
    resize = over_images(
        lambda image: preprocessor.convert_images(decode(image)), tf.float32
    )
    tokenize = tf.function(preprocessor.tokenize)
    images, texts = request["image_bytes"], request["text"]
    calls: Calls = {
        WHOLE: lambda: signatures["serving_default"](**request)["probabilities"],
        MODEL: lambda: bare_model(prepared),
        FOLDED: lambda: signatures["tensors"](**prepared)["probabilities"],
        "preprocess": lambda: signatures["preprocess"](**request)["images"],
        DECODE: lambda: bare_decode(images),
        "decode and resize": lambda: resize(images),
        "tokenize": lambda: tokenize(texts)["token_ids"],
    }
    difference = float(tf.reduce_max(tf.abs(calls[WHOLE]() - calls[MODEL]())))
    if not difference <= TOLERANCE:
        sys.exit(
            f"Whole and bare model differ by {difference:.1e}: nothing to compare."
        )
    return calls


def measure(calls: dict[int, Calls], repeats: int) -> dict[int, dict[str, list[float]]]:
    """Runs everything in turns.

    Returns:
        Milliseconds a call: by batch size and name, the median of each turn.
    """
    import numpy as np

    times: dict[int, dict[str, list[float]]] = {
        size: {name: [] for name in by_name} for size, by_name in calls.items()
    }
    for repeat in range(-1, repeats):  # the first turn warms up
        for size, by_name in calls.items():
            for name, call in by_name.items():
                milliseconds = [_time(call) for _ in range(CALLS[size])]
                if repeat >= 0:
                    times[size][name].append(float(np.median(milliseconds)))
    return times


def judge(times: dict[int, dict[str, list[float]]]) -> tuple[list[str], bool]:
    """Returns the ratios of whole to its parts as lines, and whether they pass.

    A ratio is taken within each turn; of those the median is held against the bar.
    """
    import numpy as np

    lines, is_met = [], True
    for size, by_name in times.items():
        whole, decode = np.array(by_name[WHOLE]), np.array(by_name[DECODE])
        for name in (MODEL, FOLDED):
            ratios = whole / (np.array(by_name[name]) + decode)
            low, middle, high = np.percentile(ratios, (25, 50, 75))
            line = f"batch {size}: {WHOLE} / ({name} + {DECODE}) = {middle:.2f} "
            line += f"({low:.2f} to {high:.2f})"
            if name == MODEL:
                passes = middle <= BARS[size]
                line += f"; bar {BARS[size]}: {'met' if passes else 'NOT MET'}"
                is_met = is_met and bool(passes)
            lines.append(line)
    return lines, is_met


def describe_times(times: dict[int, dict[str, list[float]]]) -> str:
    """Returns a Markdown table of medians and quartiles in milliseconds."""
    import numpy as np

    heads = [f"batch {size}, ms (quartiles)" for size in times]
    lines = ["| " + " | ".join(["", *heads]) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in times[min(times)]:
        cells = []
        for by_name in times.values():
            low, middle, high = np.percentile(by_name[name], (25, 50, 75))
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def describe_machine(request: dict[str, Any]) -> str:
    """Returns what the figures depend on."""
    import keras
    import tensorflow as tf

    sizes = [len(image) for image in request["image_bytes"].numpy()]
    load = os.getloadavg()[0]
    return (
        f"{_read_processor()}, {os.cpu_count()} cores, load {load:.1f} at the start; "
        f"threads {_THREADS.value or 'one a core'}; Python "
        f"{platform.python_version()}, TensorFlow {tf.__version__}, Keras "
        f"{keras.__version__}\n"
        f"{_REPEATS.value} turns; JPEGs of {sum(sizes) / len(sizes) / 1024:.0f} KiB, "
        "300 x 400 px or a little more\n"
    )


def _read_processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def _time(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call().numpy()  # waits for the result
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    app.run(main)
