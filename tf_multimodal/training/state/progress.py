"""Counters of a run beside its variables."""

import dataclasses


@dataclasses.dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: optimizer steps done.
        batch: number of the next batch of the data; more than `step` where batches
            were skipped.
        train_metrics: of an interval that is trained, but not yet evaluated and
            logged; else None.
        best_step: step of the best evaluation, -1 before the first.
        best_value: its value of the monitored metric; higher is better.
        evaluations_without_progress: since the best one.
        stopped: whether early stopping has ended the run.
    """

    step: int = 0
    batch: int = 0
    train_metrics: dict[str, float] | None = None
    best_step: int = -1
    best_value: float | None = None
    evaluations_without_progress: int = 0
    stopped: bool = False
