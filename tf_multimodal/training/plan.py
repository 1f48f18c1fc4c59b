"""How many steps a run has."""

import dataclasses
import math

import ml_collections

# config.train.epochs=0: so many pairs in all, within these numbers of passes.
AUTO_PAIRS, AUTO_EPOCHS = 60_000, (3, 30)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Steps of a run: `interval` between evaluations and logs, `total` in all."""

    interval: int
    total: int


def make_plan(config: ml_collections.ConfigDict, num_rows: int) -> Plan:
    """Returns the steps of a run over `num_rows` training rows.

    Args:
        config: `config.train`.
        num_rows: training rows.
    """
    low, high = AUTO_EPOCHS
    epochs = config.epochs or min(max(AUTO_PAIRS / num_rows, low), high)
    one_pass = math.ceil(num_rows / config.batch_size)
    steps = max(1, round(epochs * one_pass))
    interval = min(config.state_steps or one_pass, steps)
    return Plan(interval, interval * round(steps / interval))
