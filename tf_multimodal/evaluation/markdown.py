"""The report of an evaluation, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_multimodal.data import spec

_MODALITIES = {"image": "image", "text": "text", "image_text": "image and text"}
_PAIRS_SHOWN = 10  # confused classes
_MULTI_LABEL = (
    " A pair may have several classes: a class is predicted from a probability of "
    f"{spec.THRESHOLD} on, and a pair is right when it gets all its own and no others."
)
# Columns of the headline table, as far as a result has them.
METRICS = {
    "accuracy": "accuracy %",
    "top3_accuracy": "top-3 %",
    "micro_f1": "micro F1 %",
    "macro_f1": "macro F1 %",
    "mean_average_precision": "mAP %",
    "ece": "ECE %",
    "loss": "loss",
}


def make_report(
    result: Mapping[str, Any], run_dir: Path, pictures: Mapping[str, str]
) -> str:
    """Returns the report.

    Args:
        result: of `evaluate.make_result`.
        run_dir: the run's directory, for the title and the command.
        pictures: file names by `curves`, `confusion`, `examples`; may lack some.
    """
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    command = (
        f"python -m tf_multimodal.evaluation.evaluate --run={run_dir} "
        f"--split={result['split']}"
    )
    parts = [
        f"# {escape(run_dir.name)}: {result['split']}",
        f"{result['examples']} pairs of {escape(result['source'])}, "
        f"{len(result['classes'])} classes.",
        make_headline_table(result),
        "Accuracy with its 95 % interval, drawn by group (bootstrap). A masked "
        "modality is replaced by the embedding that the model learned for it."
        + (" Rows count by their weights." if result["weighted"] else "")
        + (_MULTI_LABEL if result["multi_label"] else "")
        + _describe_temperature(result.get("temperature", 1.0)),
        _describe_statuses(result),
        *_describe_captions(result),
        _make_picture("Examples", pictures.get("examples")),
        "## Classes",
        "Counts of rows, whatever their weight." if result["weighted"] else "",
        _make_class_table(result),
        *_describe_confusion(result),
        _make_picture("Confusion matrix", pictures.get("confusion")),
    ]
    if pictures.get("curves"):
        parts += [
            "## Training",
            "Training figures are of augmented pairs; the training loss also has "
            "the label smoothing and the losses on single branches in it.",
            _make_picture("Curves", pictures["curves"]),
        ]
    parts += [
        "## How it was made",
        f"`{command}`",
        f"Seed {result['seed']}; {versions}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def make_headline_table(result: Mapping[str, Any]) -> str:
    """Returns the table of the metrics, with and without each modality."""
    low, high = (100 * end for end in result["accuracy_interval"])
    name = _MODALITIES[result["modalities"]]
    rows = [(name, result, f" ({low:.1f} to {high:.1f})")]
    if result["modalities"] == "image_text":
        rows.append(("image (text masked)", result["image_only"], ""))
        rows.append(("text (image masked)", result["text_only"], ""))
    columns = {key: title for key, title in METRICS.items() if key in result}
    table = []
    for name, values, interval in rows:
        cells = [_format_metric(key, values[key]) for key in columns]
        table.append((name, cells[0] + interval, *cells[1:]))
    return make_table(("input", *columns.values()), table)


def _describe_temperature(temperature: float) -> str:
    """Returns what probabilities are measured, where they are calibrated."""
    if temperature == 1.0:
        return ""
    return (
        f" Probabilities are calibrated: the logits are divided by {temperature:.3f} "
        "(calibration.json)."
    )


def _describe_captions(result: Mapping[str, Any]) -> list[str]:
    """Returns the table of the captions, and what it is; nothing without captions."""
    if not result["by_caption"]:
        return []
    table = make_table(
        ("caption", "pairs", "accuracy %", "macro F1 %"),
        [
            (
                name,
                str(row["rows"]),
                *(_format_percent(row[key]) for key in ("accuracy", "macro_f1")),
            )
            for name, row in result["by_caption"].items()
        ],
    )
    about = (
        "With each caption, over the pairs that have it. All other figures are with "
        "each pair's first caption that is not empty."
    )
    return ["## Captions", about, table]


def _make_class_table(result: Mapping[str, Any]) -> str:
    columns = {"precision": "precision %", "recall": "recall %", "f1": "F1 %"}
    if result["multi_label"]:
        columns["average_precision"] = "AP %"
    return make_table(
        ("class", *columns.values(), "pairs"),
        [
            (
                row["class"],
                *(_format_percent(row[key]) for key in columns),
                str(row["support"]),
            )
            for row in result["per_class"]
        ],
    )


def _format_metric(key: str, value: float) -> str:
    return f"{value:.3f}" if key == "loss" else _format_percent(value)


def _format_percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _describe_confusion(result: Mapping[str, Any]) -> list[str]:
    """Returns the pairs of classes that are mistaken most often; none of label sets."""
    if result["confusion"] is None:
        return []
    classes = result["classes"]
    mistakes = [
        (count, i, j)
        for i, row in enumerate(result["confusion"])
        for j, count in enumerate(row)
        if count and i != j
    ]
    if not mistakes:
        return ["## Confusion", "No pair was classified wrongly."]
    mistakes.sort(key=lambda mistake: (-mistake[0], mistake[1:]))
    table = make_table(
        ("label", "predicted as", "pairs"),
        [(classes[i], classes[j], str(n)) for n, i, j in mistakes[:_PAIRS_SHOWN]],
        text_columns=2,
    )
    return ["## Confusion", table]


def _describe_statuses(result: Mapping[str, Any]) -> str:
    lines = []
    bad = {k: n for k, n in result["statuses"].items() if n and k != "ok"}
    if bad:
        counts = ", ".join(f"{n} {status}" for status, n in bad.items())
        lines.append(
            f"Rows with bad input, counted with what is left of them: {counts}."
        )
    if result["left_out"]:
        lines.append(
            "Rows of all splits that could not be read and are not counted: "
            f"{result['left_out']}."
        )
    return " ".join(lines)


def make_table(
    header: Sequence[str], rows: Iterable[Iterable[str]], text_columns: int = 1
) -> str:
    """Returns a table; the columns after the first ones, of text, hold numbers."""
    numbers = len(header) - text_columns
    lines = [list(header), ["---"] * text_columns + ["---:"] * numbers]
    lines += [[escape(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _make_picture(title: str, file_name: str | None) -> str:
    return f"![{title}]({file_name})" if file_name else ""


def escape(text: str) -> str:
    """Returns the text with what Markdown would read as markup made plain."""
    for character in "\\`*[]<>|#":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
