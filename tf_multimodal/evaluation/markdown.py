"""The report of an evaluation, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_MODALITIES = {"image": "image", "text": "text", "image_text": "image and text"}
_PAIRS_SHOWN = 10  # confused classes


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
        f"# {_escape(run_dir.name)}: {result['split']}",
        f"{result['examples']} pairs of {_escape(result['source'])}, "
        f"{len(result['classes'])} classes.",
        make_headline_table(result),
        "Accuracy with its 95 % interval, drawn by group (bootstrap). A masked "
        "modality is replaced by the embedding that the model learned for it."
        + (" Rows count by their weights." if result["weighted"] else ""),
        _describe_statuses(result),
        _make_picture("Examples", pictures.get("examples")),
        "## Classes",
        "Counts of rows, whatever their weight." if result["weighted"] else "",
        _make_class_table(result),
        "## Confusion",
        _make_confusion_table(result),
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
    return _make_table(
        ("input", "accuracy %", "top-3 %", "macro F1 %", "ECE %", "loss"),
        [
            (
                name,
                f"{100 * row['accuracy']:.1f}{interval}",
                f"{100 * row['top3_accuracy']:.1f}",
                f"{100 * row['macro_f1']:.1f}",
                f"{100 * row['ece']:.1f}",
                f"{row['loss']:.3f}",
            )
            for name, row, interval in rows
        ],
    )


def _make_class_table(result: Mapping[str, Any]) -> str:
    return _make_table(
        ("class", "precision %", "recall %", "F1 %", "pairs"),
        [
            (
                row["class"],
                f"{100 * row['precision']:.1f}",
                f"{100 * row['recall']:.1f}",
                f"{100 * row['f1']:.1f}",
                str(row["support"]),
            )
            for row in result["per_class"]
        ],
    )


def _make_confusion_table(result: Mapping[str, Any]) -> str:
    """Returns the pairs of classes that are mistaken most often."""
    classes = result["classes"]
    mistakes = [
        (count, i, j)
        for i, row in enumerate(result["confusion"])
        for j, count in enumerate(row)
        if count and i != j
    ]
    if not mistakes:
        return "No pair was classified wrongly."
    mistakes.sort(key=lambda mistake: (-mistake[0], mistake[1:]))
    return _make_table(
        ("label", "predicted as", "pairs"),
        [(classes[i], classes[j], str(n)) for n, i, j in mistakes[:_PAIRS_SHOWN]],
        text_columns=2,
    )


def _describe_statuses(result: Mapping[str, Any]) -> str:
    bad = {k: n for k, n in result["statuses"].items() if n and k != "ok"}
    if not bad:
        return ""
    counts = ", ".join(f"{n} {status}" for status, n in bad.items())
    return f"Rows with bad input, counted with what is left of them: {counts}."


def _make_table(
    header: Sequence[str], rows: Iterable[Iterable[str]], text_columns: int = 1
) -> str:
    """Returns a table; the columns after the first ones, of text, hold numbers."""
    numbers = len(header) - text_columns
    lines = [list(header), ["---"] * text_columns + ["---:"] * numbers]
    lines += [[_escape(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _make_picture(title: str, file_name: str | None) -> str:
    return f"![{title}]({file_name})" if file_name else ""


def _escape(text: str) -> str:
    """Returns the text with what Markdown would read as markup made plain."""
    for character in "\\`*[]<>|#":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
