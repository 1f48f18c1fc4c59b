"""Times the search for near-duplicates as the number of images grows tenfold.

    python -m benchmarks.near_duplicates

Three kinds of hashes, a fifth of them near-duplicates: `random`, as of photographs;
`drawings`, which agree in half of their bits, as on a white page; `crowded`, which
differ in 32 bits alone, the worst case. Then the images of an audit, read, decoded and
hashed. The exit code is 1 where 100,000 hashes take more than 10 seconds, or more than
20 times as long as 10,000 do. Crowded ones are not nearly linear: 100,000 of them may
take 20 times as long as 30,000, where comparing all with all would take 11 times.
"""

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

_SIZES = (10_000, 30_000, 100_000)
_TURNS = 3  # the fastest counts
_LIMIT_GROWTH, _LIMIT_S = 20.0, 10.0
_FIRST = {"crowded": 30_000}  # what growth is measured from; 10,000 fill no bucket
_IMAGES = flags.DEFINE_integer("images", 2000, "JPEGs that an audit reads.", 1)


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"TensorFlow {importlib.metadata.version('tensorflow')}\n"
    )
    heads = " | ".join(f"{size:,}" for size in _SIZES)
    print(f"| hashes | {heads} | growth to {_SIZES[-1]:,} |")
    print("|---|" + "---|" * (len(_SIZES) + 1))
    is_held = True
    for kind in ("random", "drawings", "crowded"):
        seconds = [measure_search(make_hashes(kind, size)) for size in _SIZES]
        first = _FIRST.get(kind, _SIZES[0])
        growth = seconds[-1] / seconds[_SIZES.index(first)]
        is_held &= growth <= _LIMIT_GROWTH and seconds[-1] <= _LIMIT_S
        cells = " | ".join(f"{value:.2f} s" for value in seconds)
        print(f"| {kind} | {cells} | {growth:.1f} from {first:,} |", flush=True)
    rate = measure_images(_IMAGES.value)
    print(f"\nAn audit reads {rate:.0f} JPEGs of 300 x 400 px a second:")
    print(f"100,000 take {100_000 / rate / 60:.1f} minutes.")
    sys.exit(0 if is_held else 1)


def make_hashes(kind: str, count: int) -> np.ndarray:
    """Returns uint8 [count, 16]; one in five differs from another in one bit."""
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 256, (count, 16), np.uint8)
    if kind == "drawings":
        hashes[:, [*range(5), *range(8, 11)]] = 0
    if kind == "crowded":
        hashes[:, :12] = 0
    copies = count // 5
    hashes[:copies] = hashes[generator.integers(copies, count, copies)]
    places = generator.integers(0, 16, copies)
    bits = 1 << generator.integers(0, 8, copies)
    hashes[np.arange(copies), places] ^= bits.astype(np.uint8)
    return hashes


def measure_search(hashes: np.ndarray) -> float:
    """Returns the seconds that the pairs and their groups take."""
    from tf_multimodal.data import duplicates

    seconds = []
    for _ in range(_TURNS):
        start = time.perf_counter()
        pairs = duplicates.find_close_pairs(hashes)
        duplicates.connect_rows(len(hashes), pairs)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure_images(count: int) -> float:
    """Returns the images a second that an audit reads, decodes and hashes."""
    import tensorflow as tf

    from tf_multimodal.data.audit import images
    from tf_multimodal.data.source import Source

    generator = np.random.default_rng(0)
    encoded = []
    for _ in range(min(count, 50)):
        coarse = generator.integers(0, 256, (15, 20, 3), np.uint8)
        pixels = tf.image.resize(coarse, (300, 400))
        encoded.append(tf.io.encode_jpeg(tf.cast(pixels, tf.uint8)).numpy())
    ids = np.array([str(i) for i in range(count)], object)
    source = Source(
        name="benchmark",
        classes=("a", "b"),
        images=np.array([encoded[i % len(encoded)] for i in range(count)], object),
        texts=ids,
        labels=np.zeros(count, np.int32),
        weights=np.ones(count, np.float32),
        ids=ids,
        groups=ids,
        splits=np.full(count, "train", object),
        files=ids,
        rows=np.arange(count, dtype=np.int64),
    )
    start = time.perf_counter()
    images.measure_images(source, 50_000_000)
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    app.run(main)
