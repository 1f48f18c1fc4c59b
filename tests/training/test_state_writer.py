"""States are written beside the training, one at a time."""

import threading

import pytest
from state_samples import assert_is_state, make_best, make_snapshot, read_files

from tf_multimodal.training.state.store import StateError, StateStore
from tf_multimodal.training.state.writer import StateWriter

SECONDS = 30  # in which a broken writer, that would wait for ever, fails


class SlowStore(StateStore):
    """Writes a state once the test lets it; fails at the steps it is told."""

    def __init__(self, root, fails=()):
        super().__init__(root, "this")
        self.begun, self.go_on = threading.Event(), threading.Event()
        self._fails, self.written = fails, []

    def write(self, snapshot, best=None):
        self.begun.set()
        assert self.go_on.wait(SECONDS)
        if snapshot.progress.step in self._fails:
            raise StateError(f"step {snapshot.progress.step} is not written")
        super().write(snapshot, best)
        self.written.append(snapshot.progress.step)


def test_submitting_does_not_wait_for_the_disk(tmp_path):
    store = SlowStore(tmp_path / "state")
    with StateWriter(store, tmp_path / "best") as writer:
        writer.submit(make_snapshot(10))
        assert store.begun.wait(SECONDS)
        assert store.written == []  # it is under way, and `submit` is back
        store.go_on.set()
        writer.wait()
        assert store.written == [10]
    assert_is_state(StateStore(tmp_path / "state", "this").read_newest()[0], 10)


def test_the_next_one_waits_for_the_one_before(tmp_path):
    store = SlowStore(tmp_path / "state")
    with StateWriter(store, tmp_path / "best") as writer:
        writer.submit(make_snapshot(10))
        seen = []

        def submit():
            writer.submit(make_snapshot(20))
            seen.extend(store.written[:1])

        thread = threading.Thread(target=submit)
        thread.start()
        assert store.begun.wait(SECONDS)
        assert thread.is_alive()
        store.go_on.set()
        thread.join(SECONDS)
        assert seen == [10]
    assert store.written == [10, 20]


def test_leaving_the_block_waits_for_the_last_state(tmp_path):
    store = SlowStore(tmp_path / "state")
    timer = threading.Timer(0.05, store.go_on.set)
    with StateWriter(store, tmp_path / "best") as writer:
        writer.submit(make_snapshot(10))
        timer.start()
    assert store.written == [10]


def test_new_best_weights_are_published(tmp_path):
    store, best = SlowStore(tmp_path / "state"), tmp_path / "best"
    store.go_on.set()
    with StateWriter(store, best) as writer:
        writer.submit(make_snapshot(10))
        writer.wait()
        assert not best.exists()
        writer.submit(make_snapshot(20), make_best(tmp_path / "state" / ".best", 20))
    assert read_files(best) == read_files(make_best(tmp_path / "x", 20))


@pytest.mark.parametrize("when", ["submit", "wait", "leave"])
def test_an_error_surfaces_at_the_next_call(tmp_path, when):
    store = SlowStore(tmp_path / "state", fails=(10,))
    store.go_on.set()
    with pytest.raises(StateError, match="step 10 is not written"):
        with StateWriter(store, tmp_path / "best") as writer:
            writer.submit(make_snapshot(10))
            if when == "submit":
                writer.submit(make_snapshot(20))
            if when == "wait":
                writer.wait()
            if when != "leave":
                raise AssertionError("the error was swallowed")
    assert store.written == []


def test_an_error_is_raised_once_and_the_next_state_is_written(tmp_path):
    store = SlowStore(tmp_path / "state", fails=(10,))
    store.go_on.set()
    with StateWriter(store, tmp_path / "best") as writer:
        writer.submit(make_snapshot(10))
        with pytest.raises(StateError):
            writer.wait()
        writer.submit(make_snapshot(20))
    assert store.written == [20]


def test_what_ended_the_block_is_not_hidden_by_the_writer(tmp_path):
    store = SlowStore(tmp_path / "state", fails=(10,))
    store.go_on.set()
    with pytest.raises(KeyError):
        with StateWriter(store, tmp_path / "best") as writer:
            writer.submit(make_snapshot(10))
            raise KeyError
