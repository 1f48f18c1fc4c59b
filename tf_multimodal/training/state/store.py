"""States on the disk: written beside and moved into place, checked when read."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np

from tf_multimodal.training.state import checksums, folder
from tf_multimodal.training.state.arrays import read_arrays, write_arrays
from tf_multimodal.training.state.progress import Progress
from tf_multimodal.training.state.snapshot import Snapshot

FORMAT = 1
PREFIX, BEST, DAMAGED, PARTIAL = "step_", "best_", "damaged_", ".partial-"
VARIABLES, PROGRESS, CHECKSUMS = "variables.npz", "progress.json", "checksums.json"
FROZEN, NEWEST = "frozen.npz", "newest.json"


class StateError(RuntimeError):
    """No state can be written, or none that is there can be used."""


class StateStore:
    """The states of a run, each in a folder `step_STEP` with checksums of its files.

    `frozen.npz` holds weights that no step changes; `best_STEP` the best weights so
    far as a preset. States name them with their checksums.

    Args:
        root: folder of the states.
        run: tells this run's states from those of others.
        keep: how many states are kept, the newest ones.
    """

    def __init__(self, root: pathlib.Path, run: str, keep: int = 2) -> None:
        self.root, self._run, self._keep = root, run, keep
        self._best: str | None = None  # of the state that was last written or read
        self._shared: dict[str, checksums.Checksums] = {}
        self._frozen_dtypes: dict[str, str] = {}
        self._damaged: set[str] = set()  # names of states

    def list_states(self) -> list[pathlib.Path]:
        """Returns the states' folders, the oldest first."""
        return sorted(self.root.glob(f"{PREFIX}*"))

    def write(self, snapshot: Snapshot, best: pathlib.Path | None = None) -> None:
        """Writes a state; it is there, whole and durable, or it is not there.

        Args:
            snapshot: of the run.
            best: a folder with the best weights so far, which is moved away; None:
                they are those of the state before.

        Raises:
            StateError: the disk is full or cannot be written.
        """
        name = f"{PREFIX}{snapshot.progress.step:010d}"
        partial = self.root / (PARTIAL + name)
        try:
            self._remove_partial()
            partial.mkdir(parents=True)
            if best is not None:
                self._take_best(best, f"{BEST}{snapshot.progress.step:010d}")
            self._write_files(partial, snapshot)
            folder.sync_folder(partial)
            self._put_damaged_aside()
            folder.replace_folder(partial, self.root / name)
            checksums.write_sealed(self.root / NEWEST, {"name": name})
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)  # so much is free again
            raise self._explain(error, snapshot) from error
        self._remove_old()

    def read_newest(self) -> tuple[Snapshot | None, list[str]]:
        """Reads the newest intact state.

        Returns:
            The state, None where no state was ever written, and a line for each
            newer one that cannot be used, with the reason.

        Raises:
            StateError: there are states, and none is intact.
        """
        reasons = self._find_missing()
        for path in reversed(self._list_candidates()):
            try:
                return self._read(path), reasons
            except (ValueError, OSError) as error:
                self._damaged.add(path.name)
                reasons.append(f"The state {path} cannot be used: {error}.")
        if not reasons:
            return None, []
        raise StateError(
            "The run cannot go on, no intact state is left:\n  "
            + "\n  ".join(reasons)
            + f"\nRestore {self.root} from a copy, or choose another --workdir."
        )

    def read(self, step: int) -> Snapshot:
        """Reads the state of a step.

        Raises:
            StateError: it is not there, or damaged.
        """
        path = self.root / f"{PREFIX}{step:010d}"
        candidates = [p for p in self._list_candidates() if p.name.endswith(path.name)]
        try:
            return self._read(candidates[-1] if candidates else path)
        except (ValueError, OSError) as error:
            raise StateError(f"The state {path} cannot be used: {error}.") from error

    def write_frozen(self, arrays: dict[str, np.ndarray]) -> None:
        """Writes weights that no step changes, once in a run.

        Raises:
            StateError: the disk is full or cannot be written.
        """
        partial = self.root / (PARTIAL + FROZEN)
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            dtypes = write_arrays(partial, arrays)
            folder.sync(partial)
            partial.replace(self.root / FROZEN)
        except OSError as error:
            raise StateError(
                f"The frozen weights cannot be written to {self.root}: {error}. Free "
                "some space, and give the same command again."
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        self._shared[FROZEN] = {FROZEN: checksums.compute_checksum(self.root / FROZEN)}
        self._frozen_dtypes = dtypes

    def read_frozen(self) -> dict[str, np.ndarray]:
        """Reads the frozen weights, which `read_newest` has checked."""
        return read_arrays(self.root / FROZEN, self._frozen_dtypes)

    def publish_best(self, target: pathlib.Path) -> None:
        """Makes a folder equal to the best weights of the newest state.

        Args:
            target: a copy for users; nothing is read from it again.

        Raises:
            StateError: the disk is full or cannot be written.
        """
        if self._best is None:
            return
        expected = self._shared[self._best]
        prefix = f"{self._best}/"
        own = {name.removeprefix(prefix): value for name, value in expected.items()}
        if not checksums.find_damage(target, own):
            shutil.rmtree(folder.get_former(target), ignore_errors=True)  # of a kill
            return
        partial = target.with_name(PARTIAL + target.name)
        try:
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self.root / self._best, partial)
            folder.sync_folder(partial)
            folder.replace_folder(partial, target)
        except OSError as error:
            raise StateError(
                f"The best weights cannot be copied to {target}: {error}. They are in "
                f"{self.root / self._best}. Free some space, and give the same command "
                "again."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _write_files(self, partial: pathlib.Path, snapshot: Snapshot) -> None:
        dtypes = write_arrays(partial / VARIABLES, snapshot.arrays)
        for name, content in snapshot.logs.items():
            (partial / name).write_bytes(content)
        values = dataclasses.asdict(snapshot.progress)
        (partial / PROGRESS).write_text(json.dumps(values), encoding="utf-8")
        shared: checksums.Checksums = {}
        for name in (FROZEN, self._best or ""):
            shared |= self._shared.get(name, {})
        description = {
            "format": FORMAT,
            "run": self._run,
            "step": snapshot.progress.step,
            "logs": list(snapshot.logs),
            "dtypes": dtypes,
            "frozen_dtypes": self._frozen_dtypes,
            "best": self._best,
            "files": checksums.compute_checksums(partial),
            "shared": shared,
        }
        checksums.write_sealed(partial / CHECKSUMS, description)

    def _read(self, path: pathlib.Path) -> Snapshot:
        """Reads a state.

        Raises:
            ValueError: it is not what was written, or not of this run.
            OSError: a file cannot be read.
        """
        description = checksums.read_sealed(path / CHECKSUMS)
        if description["format"] != FORMAT:
            raise ValueError(
                f"it has the format {description['format']}, this version of the "
                f"project reads {FORMAT}"
            )
        if description["run"] != self._run:
            raise ValueError(f"{path / CHECKSUMS} is of the state of another run")
        step = description["step"]
        if not path.name.endswith(f"{PREFIX}{step:010d}"):
            raise ValueError(f"{path / CHECKSUMS} is of the state of step {step}")
        damage = checksums.find_damage(path, description["files"])
        damage = damage or checksums.find_damage(self.root, description["shared"])
        if damage:
            raise ValueError(damage)
        self._best = description["best"]
        self._frozen_dtypes = description["frozen_dtypes"]
        self._remember_shared(description["shared"])
        progress = json.loads((path / PROGRESS).read_text(encoding="utf-8"))
        return Snapshot(
            Progress(**progress),
            read_arrays(path / VARIABLES, description["dtypes"]),
            {name: (path / name).read_bytes() for name in description["logs"]},
        )

    def _remember_shared(self, shared: checksums.Checksums) -> None:
        for name, value in shared.items():
            self._shared.setdefault(name.partition("/")[0], {})[name] = value

    def _take_best(self, best: pathlib.Path, name: str) -> None:
        """Moves the preset among the states; those so far still name theirs."""
        found = checksums.compute_checksums(best)
        folder.sync_folder(best)
        shutil.rmtree(self.root / name, ignore_errors=True)
        best.replace(self.root / name)
        self._shared[name] = {f"{name}/{path}": value for path, value in found.items()}
        self._best = name

    def _list_candidates(self) -> list[pathlib.Path]:
        former = self.root.glob(f"{folder.FORMER}{PREFIX}*")
        found = [*former, *self.list_states()]  # of equals the last is the newer one
        return sorted(found, key=lambda path: path.name.removeprefix(folder.FORMER))

    def _find_missing(self) -> list[str]:
        """Returns a line if the newest state that was written is gone."""
        try:
            name = checksums.read_sealed(self.root / NEWEST)["name"]
        except FileNotFoundError:
            return []
        except (ValueError, OSError) as error:
            return [f"{error}; whether the newest state is missing is not known."]
        names = (
            path.name.removeprefix(folder.FORMER) for path in self._list_candidates()
        )
        if max(names, default="") >= name:
            return []
        return [f"The state {self.root / name} is missing: it was written."]

    def _put_damaged_aside(self) -> None:
        """Keeps damaged states where they count as none of the last K."""
        for path in self.list_states():
            if path.name in self._damaged:
                target = path.with_name(DAMAGED + path.name)
                shutil.rmtree(target, ignore_errors=True)
                path.replace(target)
        self._damaged.clear()

    def _remove_old(self) -> None:
        states = self.list_states()
        former = self.root.glob(f"{folder.FORMER}{PREFIX}*")
        for path in (*former, *states[: -self._keep]):
            shutil.rmtree(path, ignore_errors=True)
        used = {_read_best(path) for path in states[-self._keep :]}
        for path in self.root.glob(f"{BEST}*"):
            if path.name not in used | {self._best}:
                shutil.rmtree(path, ignore_errors=True)
                self._shared.pop(path.name, None)

    def _remove_partial(self) -> None:
        """Removes what a killed process left half written."""
        for path in self.root.glob(f"{PARTIAL}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def _explain(self, error: OSError, snapshot: Snapshot) -> StateError:
        needed = sum(array.nbytes for array in snapshot.arrays.values())
        states = [p for p in self.list_states() if p.name not in self._damaged]
        last = f"The last good one is {states[-1]}." if states else "There is none yet."
        return StateError(
            f"The state of step {snapshot.progress.step} cannot be written to "
            f"{self.root}: {error}. It needs {needed / 1e6:.1f} MB, "
            f"{_read_free_bytes(self.root) / 1e6:.1f} MB are free. {last} Free some "
            "space, and give the same command again."
        )


def _read_best(path: pathlib.Path) -> str | None:
    try:
        return checksums.read_sealed(path / CHECKSUMS)["best"]
    except (ValueError, OSError):
        return None


def _read_free_bytes(path: pathlib.Path) -> int:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0
