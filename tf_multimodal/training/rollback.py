"""Going back from a loss that is not finite, and leaving out what caused it."""

import dataclasses
import json
import os
import pathlib

CAUSES = 2  # the batch whose loss it is, and the one whose update came before


class NonFiniteLoss(RuntimeError):
    """Loss or weights are not numbers any more.

    Attributes:
        what: what is not finite, for messages.
        step: after which it was seen.
        batches: the newest batches of the data, the last one last.
    """

    def __init__(self, what: str, step: int, batches: list[int]) -> None:
        super().__init__(f"{what} step {step}: not finite.")
        self.what, self.step, self.batches = what, step, batches


@dataclasses.dataclass(frozen=True)
class Rollback:
    """One line of `rollbacks.jsonl`: seen at `step`, gone back to `state_step`."""

    step: int
    state_step: int
    skipped: tuple[int, ...]
    reason: str


class Rollbacks:
    """The rollbacks of a run, kept in a file, since a resumed run skips the same.

    Args:
        path: the JSON lines file.
        writes: whether this worker is the one that writes it.
    """

    def __init__(self, path: pathlib.Path, writes: bool = True) -> None:
        self.path, self._writes = path, writes
        self.entries: list[Rollback] = []
        if path.exists():
            data = path.read_text(encoding="utf-8")
            complete = data[: data.rfind("\n") + 1]  # a kill may tear the last line
            for line in map(json.loads, complete.splitlines()):
                self.entries.append(
                    Rollback(**line | {"skipped": tuple(line["skipped"])})
                )

    @property
    def skipped(self) -> frozenset[int]:
        """Numbers of the batches that are left out."""
        return frozenset(batch for entry in self.entries for batch in entry.skipped)

    def add(self, error: NonFiniteLoss, state_step: int) -> Rollback:
        """Writes a rollback; it leaves out the batches that caused the error.

        Args:
            error: what was seen.
            state_step: of the state that the run goes back to.
        """
        entry = Rollback(
            error.step, state_step, tuple(error.batches[-CAUSES:]), str(error)
        )
        self.entries.append(entry)
        if not self._writes:
            return entry
        with self.path.open("w", encoding="utf-8") as file:
            for each in self.entries:
                file.write(json.dumps(dataclasses.asdict(each)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return entry


def find_next_batch(batch: int, skipped: frozenset[int]) -> int:
    """Returns the first number from `batch` on that is not skipped."""
    while batch in skipped:
        batch += 1
    return batch
