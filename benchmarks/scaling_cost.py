"""Reckons what a run of COYO-700M's size costs: storage, bandwidth, GPU hours.

    python -m benchmarks.scaling_cost
    python -m benchmarks.scaling_cost --gpus=64 --epochs=3

Nothing is run: the tables follow from the figures below, each with its source, and
from the architecture of configs/paper.py. docs/scaling.md explains the formulas.
"""

import dataclasses
from collections.abc import Sequence

from absl import app, flags

_ALIVE = (0.5, 0.75, 1.0)  # shares of the links that still lead to an image
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Passes; 10 in configs/paper.py.", 1)
_GPUS = flags.DEFINE_integer("gpus", 32, "A100 GPUs that train.", 1)


# What was measured, by us or by others: value, unit and source.
LINKS = 747e6  # COYO-700M, github.com/kakaobrain/coyo-dataset
IMAGE_BYTES = 10e12 / 400e6  # LAION-400M as shards of 256 px: 10 TB, img2dataset
FETCHED_S = 1300.0  # links a second and machine of 16 cores, 2 Gbit/s: likewise
RESNET50_S = 2375.0  # v1.5 at 224 px, images a second and A100, mixed precision, XLA
BERT_LARGE_S = 485.59  # sequences of 128 tokens a second and A100, mixed precision
EIGHT_GPUS = 17400 / (8 * 2375)  # speed of a GPU among eight, of one alone; ResNet50
SMALL_MODEL_CORE_S = 2.99  # pairs a core-second, bfloat16: ResNet50, BERT of 6 x 384
FILES_CORE_S = 321.0  # pairs a core-second: JPEG of 0.2 MP, antialiased, tokenised
SHARDS_CORE_S = 813.0  # the same from shards stored at 256 px

# The architecture of configs/paper.py.
TOKENS = 64
RESNET50_PARAMETERS = 23.6e6  # without its head
BERT_BASE_PARAMETERS = 109.5e6
LSTM_PARAMETERS = 1.05e6  # 256 units on 768
COPIES = 4  # weights, AdamW's two averages, the average of the weights; float32


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        pairs: of image and text, after dead links.
        storage_tb: of the shards, 10^12 bytes.
        fetch_days: of one machine that fetches them.
        gpu_hours: of all passes at the published rates.
        days: of all GPUs together.
        read_gb_s: read by all GPUs' input together, 10^9 bytes a second.
        shard_cores, file_cores: that make the batches for one GPU, from shards at
            256 px or from JPEGs of 0.2 MP.
        state_gb: of one state, 10^9 bytes.
        reduced_gb: sent by each worker for a step's gradients, float32.
        core_hours: of a CPU for one pass, with the smaller BERT that was measured.
    """

    pairs: float
    storage_tb: float
    fetch_days: float
    gpu_hours: float
    days: float
    read_gb_s: float
    shard_cores: float
    file_cores: float
    state_gb: float
    reduced_gb: float
    core_hours: float


def main(argv: Sequence[str]) -> None:
    """Prints the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    print(format_tables(_EPOCHS.value, _GPUS.value))


def count_encoder_flops(layers: int, width: int, tokens: int) -> float:
    """Returns floating-point operations of a training step of a BERT on one sequence.

    Args:
        layers: Transformer layers.
        width: of the token states; the feed-forward layers have four times as many.
        tokens: of the sequence.
    """
    multiplied = 12 * layers * width**2 + 2 * layers * tokens * width  # per token
    return 3 * 2 * multiplied * tokens  # forward, and twice that backward


def compute_pairs_per_second() -> float:
    """Returns pairs a second and GPU, the branches one after the other."""
    large = count_encoder_flops(24, 1024, 128)
    bert_base_s = BERT_LARGE_S * large / count_encoder_flops(12, 768, TOKENS)
    return EIGHT_GPUS / (1 / RESNET50_S + 1 / bert_base_s)


def compute_cost(alive: float, epochs: int, gpus: int) -> Cost:
    """Returns what a run costs.

    Args:
        alive: share of the links that lead to an image, above 0, at most 1.
        epochs: passes over the pairs.
        gpus: that train.
    """
    pairs, rate = LINKS * alive, compute_pairs_per_second()
    gpu_hours = epochs * pairs / rate / 3600
    parameters = RESNET50_PARAMETERS + BERT_BASE_PARAMETERS + LSTM_PARAMETERS
    return Cost(
        pairs=pairs,
        storage_tb=pairs * IMAGE_BYTES / 1e12,
        fetch_days=LINKS / FETCHED_S / 86400,
        gpu_hours=gpu_hours,
        days=gpu_hours / gpus / 24,
        read_gb_s=gpus * rate * IMAGE_BYTES / 1e9,
        shard_cores=rate / SHARDS_CORE_S,
        file_cores=rate / FILES_CORE_S,
        state_gb=COPIES * 4 * parameters / 1e9,
        reduced_gb=2 * 4 * parameters / 1e9,
        core_hours=pairs / SMALL_MODEL_CORE_S / 3600,
    )


def format_tables(epochs: int, gpus: int) -> str:
    """Returns two Markdown tables: by share of links that are alive, and the rest."""
    costs = [compute_cost(alive, epochs, gpus) for alive in _ALIVE]
    rows = {
        "pairs, millions": [f"{c.pairs / 1e6:.0f}" for c in costs],
        "shards, TB": [f"{c.storage_tb:.1f}" for c in costs],
        f"A100 hours, {epochs} passes": [f"{c.gpu_hours:,.0f}" for c in costs],
        "the same at half the rate": [f"{2 * c.gpu_hours:,.0f}" for c in costs],
        f"days on {gpus} A100": [f"{c.days:.1f}" for c in costs],
        "CPU core hours, one pass": [f"{c.core_hours:,.0f}" for c in costs],
    }
    heads = " | ".join(f"{alive:.0%}" for alive in _ALIVE)
    lines = [f"| links alive | {heads} |", "|---|" + "---:|" * len(_ALIVE)]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    cost = costs[0]
    lines += [
        "",
        "| whatever their share | |",
        "|---|---:|",
        f"| fetching on one machine, days | {cost.fetch_days:.1f} |",
        f"| images read by {gpus} A100, GB/s | {cost.read_gb_s:.2f} |",
        f"| cores that make the batches of one A100, from shards at 256 px "
        f"| {cost.shard_cores:.1f} |",
        f"| the same from JPEGs of 0.2 MP | {cost.file_cores:.1f} |",
        f"| a state, GB | {cost.state_gb:.1f} |",
        f"| gradients sent by a worker at each step, GB | {cost.reduced_gb:.1f} |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)
