"""Whatever happens to the files of the states: never a wrong one, always a reason."""

import shutil

import numpy as np
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

BEST = {10: 10, 20: 20, 25: 20}  # step of each state: that of its best weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The states of a run, as they were earlier, of its twin and of another run."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed, run in (("run", 0, "this"), ("twin", 1, "this"), ("other", 2, "o")):
        store = fill_store(folder / name, (10, 20), seed, run, keep=3)
        if name == "run":
            shutil.copytree(folder / "run", folder / "earlier")
        store.write(make_snapshot(25, seed))
    return folder


def truncate(root, files, generator):
    path = pick(files, generator)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: generator.integers(size)])
    return [path]


def flip_bit(root, files, generator):
    path = pick(files, generator)
    content = bytearray(path.read_bytes())
    content[generator.integers(len(content))] ^= 1 << generator.integers(8)
    path.write_bytes(content)
    return [path]


def zero_block(root, files, generator):
    path = pick(files, generator)
    content = bytearray(path.read_bytes())
    start = generator.integers(len(content))
    size = len(content[start : start + 512])
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return [path]


def delete_file(root, files, generator):
    path = pick(files, generator)
    path.unlink()
    return [path]


def delete_folder(root, files, generator):
    path = pick(list_folders(root), generator)
    shutil.rmtree(path)
    return [path]


def swap_files(root, files, generator):
    return swap(root, *pick(files, generator, 2))


def swap_same_files(root, files, generator):
    """Two files of one name, of two states or two presets."""
    one = pick([f for f in files if f.parent != root], generator)
    others = [f for f in files if f.name == one.name and f != one]
    return swap(root, one, pick(others, generator))


def swap_folders(root, files, generator):
    kind = pick(["step_*", "best_*"], generator)
    return swap(root, *pick(sorted(root.glob(kind)), generator, 2))


def copy_file_of_others(root, files, generator):
    path = pick(files, generator)
    others = ("twin", "other", "earlier")
    found = [root.parent / name / path.relative_to(root) for name in others]
    shutil.copyfile(pick([f for f in found if f.exists()], generator), path)
    return [path]


def copy_folder_of_others(root, files, generator):
    path = pick(list_folders(root), generator)
    shutil.rmtree(path)
    shutil.copytree(root.parent / "other" / path.name, path)
    return [path]


def pick(values, generator, count=None):
    chosen = generator.choice(len(values), count, replace=False)
    return values[chosen] if count is None else [values[n] for n in chosen]


def list_folders(root):
    return sorted(path for path in root.iterdir() if path.is_dir())


def swap(root, one, other):
    one.rename(root / "x")
    other.rename(one)
    (root / "x").rename(other)
    return [one, other]


CORRUPTIONS = (
    truncate,
    flip_bit,
    zero_block,
    delete_file,
    delete_folder,
    swap_files,
    swap_same_files,
    swap_folders,
    copy_file_of_others,
    copy_folder_of_others,
)


def check(root, damaged):
    """The newest intact state, and whatever else is needed of it, or a named reason."""
    store = StateStore(root, "this", keep=3)
    try:
        snapshot, reasons = store.read_newest()
    except StateError as error:
        assert any(str(path) in str(error) for path in damaged)
        return "refused"
    step = snapshot.progress.step
    assert_is_state(snapshot, step)
    assert_arrays_equal(store.read_frozen(), FROZEN)
    best, expected = root.parent / "best", make_best(root.parent / "x", BEST[step])
    store.publish_best(best)
    assert read_files(best) == read_files(expected)
    for reason in reasons:
        assert any(str(path) in reason for path in damaged)
    assert step == 25 or reasons
    store.write(make_snapshot(40))  # the run goes on
    assert_is_state(StateStore(root, "this").read_newest()[0], 40)
    return "newest" if step == 25 else "older"


@pytest.mark.parametrize("seed", range(100))
def test_a_random_corruption_is_never_resumed_from(runs, tmp_path, seed):
    for name in ("run", "twin", "other", "earlier"):
        shutil.copytree(runs / name, tmp_path / name)
    root, generator = tmp_path / "run", np.random.default_rng(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    corrupt = CORRUPTIONS[seed % len(CORRUPTIONS)]
    check(root, corrupt(root, files, generator))


def test_every_file_that_the_newest_state_needs_is_checked(runs, tmp_path):
    names = sorted(read_files(runs / "run"))
    needed = []
    for number, name in enumerate(names):
        root = tmp_path / str(number) / "run"
        shutil.copytree(runs / "run", root)
        content = bytearray((root / name).read_bytes())
        content[len(content) // 2] ^= 1
        (root / name).write_bytes(content)
        if check(root, [root / name]) != "newest":
            needed.append(name)
    kept = ("step_0000000025/", "best_0000000020/", "frozen.npz")
    assert needed == [name for name in names if name.startswith(kept)]
    assert len(needed) == 8


def test_files_of_an_older_state_with_their_checksums_are_refused(runs, tmp_path):
    root = shutil.copytree(runs / "run", tmp_path / "run")
    newest = root / "step_0000000025"
    shutil.copytree(root / "step_0000000020", newest, dirs_exist_ok=True)
    _, reasons = StateStore(root, "this").read_newest()
    assert len(reasons) == 1
    assert f"{newest}/checksums.json is of the state of step 20" in reasons[0]
    assert check(root, [newest]) == "older"


def test_one_json_file_in_the_place_of_another_is_refused(runs, tmp_path):
    root = shutil.copytree(runs / "run", tmp_path / "run")
    hit = swap(root, root / "newest.json", root / "step_0000000025" / "checksums.json")
    _, reasons = StateStore(root, "this").read_newest()
    assert [any(str(path) in r for r in reasons) for path in hit] == [True, True]
    assert check(root, hit) == "older"


def test_an_earlier_name_of_the_newest_state_does_no_harm(runs, tmp_path):
    root = shutil.copytree(runs / "run", tmp_path / "run")
    shutil.copyfile(runs / "earlier" / "newest.json", root / "newest.json")
    assert StateStore(root, "this").read_newest()[1] == []
    assert check(root, []) == "newest"
