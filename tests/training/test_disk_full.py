"""A full disk is a clear error that leaves the last good state."""

import errno
import os
import pathlib
import re
import textwrap

import pytest
from state_samples import (
    FROZEN,
    assert_arrays_equal,
    assert_is_state,
    fill_store,
    make_best,
    make_snapshot,
    read_files,
)

from tf_multimodal.training.state.store import StateError, StateStore


def fill_disk(monkeypatch, name):
    """Lets a file of this name be opened where each byte fails: no space is left."""
    original = pathlib.Path.open

    def open_full(path, mode="r", *args, **options):
        if mode != "wb" or not path.name.endswith(name):
            return original(path, mode, *args, **options)
        path.touch()  # the name is there, as on a full disk
        return original(pathlib.Path("/dev/full"), mode, *args, **options)

    monkeypatch.setattr(pathlib.Path, "open", open_full)


def read_newest(root):
    return StateStore(root, "this").read_newest()


@pytest.mark.parametrize("name", ["variables.npz", "metrics.jsonl"])
def test_a_full_disk_leaves_the_last_good_state(tmp_path, monkeypatch, name):
    store = fill_store(tmp_path)
    best = make_best(tmp_path / ".best", 30)
    with monkeypatch.context() as patches:
        fill_disk(patches, name)
        with pytest.raises(StateError) as error:
            store.write(make_snapshot(30), best)
    message = str(error.value)
    assert "The state of step 30 cannot be written" in message
    assert "No space left on device" in message
    assert re.search(r"It needs \d+\.\d MB, \d+\.\d MB are free", message)
    assert f"The last good one is {tmp_path}/step_0000000020." in message
    assert not list(tmp_path.glob(".partial-*"))
    snapshot, reasons = read_newest(tmp_path)
    assert reasons == []
    assert_is_state(snapshot, 20)


def test_with_space_again_the_next_start_goes_on(tmp_path, monkeypatch):
    store = fill_store(tmp_path / "state")
    with monkeypatch.context() as patches:
        fill_disk(patches, "variables.npz")
        with pytest.raises(StateError):
            store.write(make_snapshot(30), make_best(tmp_path / "state" / ".best", 30))
    resumed = StateStore(tmp_path / "state", "this")
    resumed.read_newest()
    resumed.publish_best(tmp_path / "best")
    assert read_files(tmp_path / "best") == read_files(make_best(tmp_path / "x", 20))
    resumed.write(make_snapshot(30), make_best(tmp_path / "state" / ".best", 30))
    resumed.publish_best(tmp_path / "best")
    assert_is_state(read_newest(tmp_path / "state")[0], 30)
    assert read_files(tmp_path / "best") == read_files(make_best(tmp_path / "y", 30))


def test_a_damaged_state_is_not_named_as_the_last_good_one(tmp_path, monkeypatch):
    fill_store(tmp_path)
    (tmp_path / "step_0000000020" / "progress.json").unlink()
    store = StateStore(tmp_path, "this")
    store.read_newest()
    fill_disk(monkeypatch, "variables.npz")
    with pytest.raises(StateError, match="last good one is .*/step_0000000010"):
        store.write(make_snapshot(15))


def test_without_a_state_the_error_says_so(tmp_path, monkeypatch):
    store = StateStore(tmp_path, "this")
    store.write_frozen(FROZEN)
    fill_disk(monkeypatch, "variables.npz")
    with pytest.raises(StateError, match="There is none yet"):
        store.write(make_snapshot(0))


def test_frozen_weights_on_a_full_disk(tmp_path, monkeypatch):
    store = StateStore(tmp_path, "this")
    with monkeypatch.context() as patches:
        fill_disk(patches, "frozen.npz")
        with pytest.raises(StateError, match="frozen weights cannot be written"):
            store.write_frozen(FROZEN)
    assert list(tmp_path.iterdir()) == []
    store.write_frozen(FROZEN)
    assert_arrays_equal(store.read_frozen(), FROZEN)


def test_a_copy_of_the_best_weights_on_a_full_disk(tmp_path, monkeypatch):
    store, best = fill_store(tmp_path / "state"), tmp_path / "best"
    store.publish_best(best)
    store.write(make_snapshot(30), make_best(tmp_path / "state" / ".best", 30))
    with monkeypatch.context() as patches:
        fail_at_call(patches, 1, ("mkdir",))
        with pytest.raises(StateError) as error:
            store.publish_best(best)
    assert f"They are in {tmp_path}/state/best_0000000030" in str(error.value)
    assert read_files(best) == read_files(make_best(tmp_path / "x", 20))
    assert not list(tmp_path.glob(".partial-*"))
    store.publish_best(best)
    assert read_files(best) == read_files(make_best(tmp_path / "y", 30))


def fail_at_call(monkeypatch, number, names):
    """Lets that one of the next calls of the file system fail; returns the count."""
    count = [0]
    for name in names:
        original = getattr(os, name)

        def call(*args, original=original, **options):
            count[0] += 1
            if count[0] == number:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            return original(*args, **options)

        monkeypatch.setattr(os, name, call)
    return count


def test_whichever_call_fails_a_whole_state_is_left(tmp_path, monkeypatch):
    names = ("mkdir", "replace", "rename", "fsync")
    failed, number, count = 0, 0, [0]
    while count[0] >= number:  # else there are no more calls
        number += 1
        root = tmp_path / str(number)
        store = fill_store(root)
        best = make_best(root / ".best", 30)
        with monkeypatch.context() as patches:
            count = fail_at_call(patches, number, names)
            try:
                store.write(make_snapshot(30), best)
            except StateError as error:
                assert "Disk quota exceeded" in str(error)
                failed += 1
        snapshot, reasons = read_newest(root)
        assert reasons == []
        assert_is_state(snapshot, snapshot.progress.step)
        assert not list(root.glob(".partial-*"))
        resumed = StateStore(root, "this")
        resumed.read_newest()
        resumed.write(make_snapshot(40))
        assert_is_state(read_newest(root)[0], 40)
    assert failed > 10


@pytest.mark.slow
def test_a_real_limit_of_the_kernel(tmp_path, run_command):
    fill_store(tmp_path)
    program = """
        import pathlib, resource, sys
        sys.path.insert(0, sys.argv[2])
        from state_samples import make_snapshot
        import numpy as np
        from tf_multimodal.training.state.store import StateStore

        store = StateStore(pathlib.Path(sys.argv[1]), "this")
        store.read_newest()
        snapshot = make_snapshot(30)
        snapshot.arrays["model/00009"] = np.zeros(1_000_000, "float32")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        store.write(snapshot)
    """
    here = pathlib.Path(__file__).parent
    result = run_command("-c", textwrap.dedent(program), tmp_path, here, expect=1)
    assert "StateError: The state of step 30 cannot be written" in result.stderr
    assert "File too large. It needs 4.0 MB" in result.stderr
    assert f"The last good one is {tmp_path}/step_0000000020." in result.stderr
    assert not list(tmp_path.glob(".partial-*"))
    assert_is_state(read_newest(tmp_path)[0], 20)
