"""Small states, each step's other than all others', for the tests of the store."""

import ml_dtypes
import numpy as np

from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.snapshot import Snapshot
from tf_multimodal.training.state.store import StateStore

FROZEN = {
    "frozen/00000": np.arange(6, dtype="float32").reshape(2, 3),
    "frozen/00001": np.arange(3).astype(ml_dtypes.bfloat16),
}


def make_snapshot(step, seed=0):
    """A state; of a step and a seed it is always the same, and of one size."""
    generator = np.random.default_rng([seed, step])
    arrays = {
        "model/00001": generator.normal(size=(3, 5)).astype("float32"),
        "model/00000": generator.normal(size=7).astype(ml_dtypes.bfloat16),
        "optimizer/00002": np.asarray(step, "int64"),
        "optimizer/00003": np.asarray(generator.normal(), ml_dtypes.bfloat16),
        "optimizer/00004": np.zeros((0, 4), "float32"),
        "metric/00005": generator.integers(0, 9, 4).astype("uint32"),
    }
    progress = Progress(
        step, step + seed, {"loss": 1 / (step + 3)}, step - 10, 0.1 + step, 1
    )
    logs = {"metrics.jsonl": f"{step} {seed}\n".encode(), "timing.jsonl": b"\xff\n"}
    return Snapshot(progress, arrays, logs)


def make_best(folder, step, seed=0):
    """A preset with a file in a folder within it, as `save_to_preset` leaves it."""
    (folder / "assets").mkdir(parents=True)
    (folder / "model.weights.h5").write_bytes(f"weights {step:09d} {seed}".encode())
    (folder / "assets" / "vocabulary.txt").write_bytes(b"a\nb\n")
    return folder


def read_files(folder):
    """The content of all files in a folder, by their paths within it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fill_store(root, steps=(0, 10, 20), seed=0, run="this", keep=2):
    """A run's store; each state has a best preset of its own but the one of step 0."""
    store = StateStore(root, run, keep)
    store.write_frozen(FROZEN)
    for step in steps:
        best = make_best(root / ".best", step, seed) if step else None
        store.write(make_snapshot(step, seed), best)
    return store


def assert_arrays_equal(found, expected):
    """The same bits, types and shapes, in the same order."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def assert_is_state(found, step, seed=0):
    """The snapshot of a step, to the last bit."""
    expected = make_snapshot(step, seed)
    assert found.progress == expected.progress
    assert found.logs == expected.logs
    assert_arrays_equal(found.arrays, expected.arrays)
