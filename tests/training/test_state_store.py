"""States on the disk: what is written is read, whatever moment a run is killed at."""

import os
import pathlib
import shutil

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

from tf_multimodal.training.state import folder
from tf_multimodal.training.state.store import StateError, StateStore


def list_names(root):
    return sorted(path.name for path in root.iterdir())


def read_newest(root, run="this"):
    return StateStore(root, run).read_newest()


def test_what_was_written_is_read(tmp_path):
    fill_store(tmp_path)
    store = StateStore(tmp_path, "this")
    snapshot, reasons = store.read_newest()
    assert reasons == []
    assert_is_state(snapshot, 20)
    assert_arrays_equal(store.read_frozen(), FROZEN)
    assert_is_state(store.read(10), 10)
    with pytest.raises(StateError, match="step_0000000005 cannot be used.*No such"):
        store.read(5)


def test_without_states_there_is_none_and_no_reason(tmp_path):
    assert read_newest(tmp_path / "state") == (None, [])
    StateStore(tmp_path, "this").write_frozen({})
    assert read_newest(tmp_path) == (None, [])


def test_no_frozen_weights_are_read_as_none(tmp_path):
    store = StateStore(tmp_path, "this")
    store.write_frozen({})
    store.write(make_snapshot(0))
    store = StateStore(tmp_path, "this")
    store.read_newest()
    assert store.read_frozen() == {}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_states_and_their_presets_are_kept(tmp_path, keep):
    fill_store(tmp_path, range(0, 60, 10), keep=keep)
    steps = range(60 - 10 * keep, 60, 10)
    best = [f"best_{step:010d}" for step in steps]
    states = [f"step_{step:010d}" for step in steps]
    assert list_names(tmp_path) == [*best, "frozen.npz", "newest.json", *states]


def test_a_preset_is_kept_as_long_as_a_state_names_it(tmp_path):
    store = fill_store(tmp_path, (10,))
    for step in (20, 30, 40):
        store.write(make_snapshot(step))
    assert [path.name for path in tmp_path.glob("best_*")] == ["best_0000000010"]
    resumed = StateStore(tmp_path, "this")
    resumed.read_newest()
    resumed.write(make_snapshot(50))
    resumed.publish_best(tmp_path / "best")
    assert read_files(tmp_path / "best") == read_files(make_best(tmp_path / "x", 10))
    resumed.write(make_snapshot(60), make_best(tmp_path / ".best", 60))
    assert (tmp_path / "best_0000000010").exists()  # the state of step 50 names it
    resumed.write(make_snapshot(70))
    assert not (tmp_path / "best_0000000010").exists()


def test_best_weights_are_copied_only_if_they_differ(tmp_path):
    store, best = fill_store(tmp_path / "state"), tmp_path / "best"
    expected = read_files(make_best(tmp_path / "x", 20))
    store.publish_best(best)
    assert read_files(best) == expected
    number = best.stat().st_ino
    store.publish_best(best)
    assert best.stat().st_ino == number
    (best / "assets" / "vocabulary.txt").write_bytes(b"a\nc\n")
    store.publish_best(best)
    assert read_files(best) == expected
    assert best.stat().st_ino != number


def test_without_best_weights_nothing_is_published(tmp_path):
    fill_store(tmp_path, (0,)).publish_best(tmp_path / "best")
    assert not (tmp_path / "best").exists()


def test_what_a_killed_process_left_is_removed(tmp_path):
    store = fill_store(tmp_path / "state")
    make_best(tmp_path / "state" / ".partial-step_0000000030", 1)
    (tmp_path / "state" / ".partial-0123-newest.json").write_text("{")
    make_best(tmp_path / ".partial-best", 1)
    make_best(tmp_path / ".former-best", 1)
    store.write(make_snapshot(30))
    store.publish_best(tmp_path / "best")
    (tmp_path / ".former-best").mkdir()
    store.publish_best(tmp_path / "best")
    assert list_names(tmp_path) == ["best", "state"]
    assert not list((tmp_path / "state").glob(".*"))


def test_a_state_is_found_where_its_replacement_was_cut_short(tmp_path):
    fill_store(tmp_path)
    newest = tmp_path / "step_0000000020"
    newest.rename(folder.get_former(newest))
    store = StateStore(tmp_path, "this")
    snapshot, reasons = store.read_newest()
    assert reasons == []
    assert_is_state(snapshot, 20)
    store.write(make_snapshot(30))
    assert not list(tmp_path.glob(".former-*"))
    assert_is_state(read_newest(tmp_path)[0], 30)


def test_a_deleted_newest_state_is_named(tmp_path):
    fill_store(tmp_path)
    shutil.rmtree(tmp_path / "step_0000000020")
    snapshot, reasons = read_newest(tmp_path)
    assert_is_state(snapshot, 10)
    assert reasons == [
        f"The state {tmp_path}/step_0000000020 is missing: it was written."
    ]
    shutil.rmtree(tmp_path / "step_0000000010")
    with pytest.raises(StateError, match="no intact state is left:\n.*20 is missing"):
        read_newest(tmp_path)


def test_states_that_are_all_damaged_end_the_run(tmp_path):
    fill_store(tmp_path)
    for path in tmp_path.glob("step_*/variables.npz"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateError) as error:
        read_newest(tmp_path)
    for step in (10, 20):
        assert f"step_{step:010d}/variables.npz has" in str(error.value)
    assert f"Restore {tmp_path} from a copy" in str(error.value)


def test_states_in_each_other_s_place_are_refused(tmp_path):
    fill_store(tmp_path)
    older, newer = tmp_path / "step_0000000010", tmp_path / "step_0000000020"
    older.rename(tmp_path / "x")
    newer.rename(older)
    (tmp_path / "x").rename(newer)
    with pytest.raises(StateError) as error:
        read_newest(tmp_path)
    assert f"{newer}/checksums.json is of the state of step 10" in str(error.value)
    assert f"{older}/checksums.json is of the state of step 20" in str(error.value)


def test_a_state_of_another_run_is_refused(tmp_path):
    fill_store(tmp_path / "a")
    fill_store(tmp_path / "b", seed=1, run="other")
    shutil.rmtree(tmp_path / "a" / "step_0000000020")
    shutil.copytree(
        tmp_path / "b" / "step_0000000020", tmp_path / "a" / "step_0000000020"
    )
    snapshot, reasons = read_newest(tmp_path / "a")
    assert_is_state(snapshot, 10)
    assert len(reasons) == 1
    assert "20/checksums.json is of the state of another run" in reasons[0]


def test_an_older_file_of_the_same_size_is_refused(tmp_path):
    fill_store(tmp_path)
    older, newer = (tmp_path / f"step_{n:010d}" / "variables.npz" for n in (10, 20))
    assert older.stat().st_size == newer.stat().st_size
    shutil.copy2(older, newer)
    snapshot, reasons = read_newest(tmp_path)
    assert_is_state(snapshot, 10)
    assert f"{newer} has other content than was written (SHA-256)" in reasons[0]


def test_damaged_states_are_put_aside_and_count_as_none_of_the_last(tmp_path):
    fill_store(tmp_path)
    content = b"not what was written"
    (tmp_path / "step_0000000020" / "progress.json").write_bytes(content)
    store = StateStore(tmp_path, "this")
    store.read_newest()
    store.write(make_snapshot(30))  # beyond the damaged one
    aside = tmp_path / "damaged_step_0000000020" / "progress.json"
    assert aside.read_bytes() == content
    names = [path.name for path in store.list_states()]
    assert names == ["step_0000000010", "step_0000000030"]
    assert_is_state(read_newest(tmp_path)[0], 30)


def test_a_state_that_is_damaged_later_is_put_aside_too(tmp_path):
    store = fill_store(tmp_path)
    content = b"not what was written"
    (tmp_path / "step_0000000020" / "progress.json").write_bytes(content)
    assert_is_state(store.read_newest()[0], 10)  # gone back to by the same process
    store.write(make_snapshot(20), make_best(tmp_path / ".best", 20))
    aside = tmp_path / "damaged_step_0000000020" / "progress.json"
    assert aside.read_bytes() == content
    assert_is_state(read_newest(tmp_path)[0], 20)


@pytest.fixture
def watch_disk(monkeypatch, tmp_path):
    """Copies the run's folder as a power cut would leave it, before each change."""
    synced, copies = set(), []

    def identify(path):
        status = os.stat(path)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def copy(root):
        target = tmp_path / f"copy_{len(copies)}"
        shutil.copytree(root, target, copy_function=copy_file)
        copies.append(target)

    def copy_file(source, target):
        content = pathlib.Path(source).read_bytes()
        if identify(source) not in synced:
            content = content[: len(content) // 2]  # what was not synced is torn
        pathlib.Path(target).write_bytes(content)

    def watch(root, action):
        active = True
        for name in ("replace", "rename", "mkdir", "unlink", "rmdir", "fsync"):
            original = getattr(os, name)

            def changed(*args, original=original, name=name, **options):
                nonlocal active
                if active:
                    active = False  # copying changes the disk too
                    copy(root)
                    if name == "fsync":
                        synced.add(identify(args[0]))
                    active = True
                return original(*args, **options)

            monkeypatch.setattr(os, name, changed)
        action()
        active = False
        copy(root)
        return copies

    return watch, synced, identify


@pytest.mark.parametrize("case", ["next step", "same step", "after damage"])
def test_a_run_killed_at_any_moment_keeps_a_whole_state(tmp_path, watch_disk, case):
    watch, synced, identify = watch_disk
    root = tmp_path / "run" / "state"
    store = fill_store(root, (0, 10))
    store.write(make_snapshot(20))
    store.publish_best(tmp_path / "run" / "best")
    if case == "after damage":
        (root / "step_0000000020" / "progress.json").unlink()
        store = StateStore(root, "this")
        store.read_newest()
    step, seed = (30, 1) if case == "next step" else (20, 1)
    best = make_best(root / ".best", step, seed)
    synced |= {identify(path) for path in root.rglob("*") if best not in path.parents}
    synced |= {identify(path) for path in (tmp_path / "run" / "best").rglob("*")}

    def write():
        store.write(make_snapshot(step, seed), best)
        store.publish_best(tmp_path / "run" / "best")

    copies = watch(tmp_path / "run", write)
    assert len(copies) > 20
    old = (10, 10, 0) if case == "after damage" else (20, 10, 0)  # step, best, seed
    seen = [check_copy(copy, old, (step, step, seed)) for copy in copies]
    assert seen[0] == old and seen[-1] == (step, step, seed)
    assert seen == sorted(seen, key=(step, step, seed).__eq__)  # never back again


def check_copy(run, *expected):
    """Reads the state of a run that was killed, and returns which one it is."""
    reader = StateStore(run / "state", "this")
    snapshot, reasons = reader.read_newest()
    found = snapshot.progress.step, snapshot.progress.batch - snapshot.progress.step
    case = next(e for e in expected if (e[0], e[2]) == found)
    assert_is_state(snapshot, case[0], case[2])
    presets = [
        read_files(make_best(run / f"x{n}", best, seed))
        for n, (_, best, seed) in enumerate(expected)
    ]
    if (run / "best").exists():  # a reader finds a whole preset, the old or the new
        assert read_files(run / "best") in presets
    reader.publish_best(run / "best")
    assert read_files(run / "best") == presets[expected.index(case)]
    assert_arrays_equal(reader.read_frozen(), FROZEN)
    reader.write(make_snapshot(40))  # the run goes on
    assert_is_state(read_newest(run / "state")[0], 40)
    return case
