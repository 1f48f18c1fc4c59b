"""The model card as Markdown, for a person."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOT_RECORDED = "not recorded"
MODALITIES = {
    "image": "an image",
    "text": "a text",
    "image_text": "an image and a text",
}
SEVERAL = ", several, one or none for each input"
# Name in the table, and factor: shares are printed in percent.
METRICS = {
    "accuracy": ("accuracy %", 100),
    "top3_accuracy": ("top-3 %", 100),
    "micro_f1": ("micro F1 %", 100),
    "macro_f1": ("macro F1 %", 100),
    "mean_average_precision": ("mAP %", 100),
    "ece": ("calibration error %", 100),
    "loss": ("loss", 1),
}


def make_markdown(card: Mapping[str, Any]) -> str:
    """Returns the text of a model card.

    Args:
        card: of `model_card.make_model_card`, which documents its keys.
    """
    classes = card["classes"]
    parts = [
        f"# {_escape(card['name'])}",
        f"Classifies {MODALITIES[card['modalities']]} into {len(classes)} classes"
        f"{SEVERAL if card.get('activation') == 'sigmoid' else ''}: "
        f"{_escape(', '.join(classes))}. A SavedModel in {card['precision']}, with "
        f"{card['parameters']:,} parameters.",
        "## Intended use and limits",
        f"Intended use: {_escape(card['intended_use'])}",
        "\n".join(f"- {limit}" for limit in card["limits"]),
        "## Metrics",
        *_describe_metrics(card["metrics"]),
        *_describe_calibration(card),
        "## Data",
        _describe_data(card["data"]),
        "## Inputs and outputs",
        _describe_reading(card),
        _make_signature_table(card["signatures"]),
        f"Warm-up requests and allowed batch sizes: "
        f"{', '.join(map(str, card['allowed_batch_sizes']))}.",
        "## How it was made",
        _describe_training(card),
        "The facts stand in `model_card.json`, too.",
    ]
    return "\n\n".join(parts) + "\n"


def _describe_metrics(metrics: Mapping[str, Any] | None) -> list[str]:
    if metrics is None:
        return ["The run was not evaluated."]
    rows = [("all inputs", metrics["values"])]
    rows += [
        (f"{name} alone", metrics[key])
        for name, key in (("image", "image_only"), ("text", "text_only"))
        if key in metrics
    ]
    columns = [key for key in METRICS if key in metrics["values"]]
    table = _make_table(
        ["", *(METRICS[key][0] for key in columns)],
        [
            [name, *(_format_metric(key, values.get(key)) for key in columns)]
            for name, values in rows
        ],
    )
    examples = metrics["examples"] or "an unknown number of"
    parts = [
        f"On {examples} examples of the {metrics['split']} split "
        f"(`{metrics['source']}` of the run).",
        table,
    ]
    if "accuracy_interval" in metrics:
        low, high = (100 * end for end in metrics["accuracy_interval"])
        parts.append(f"95 % interval of the accuracy: {low:.1f} to {high:.1f} %.")
    if "per_class" in metrics:
        rows_by_class = [
            [row["class"], f"{100 * row['recall']:.1f}", str(row["support"])]
            for row in metrics["per_class"]
        ]
        parts.append(_make_table(["class", "recall %", "examples"], rows_by_class))
    return parts


def _describe_calibration(card: Mapping[str, Any]) -> list[str]:
    """Returns what the probabilities are worth, where the run was calibrated."""
    temperature = card.get("temperature", 1.0)
    measured = (card["metrics"] or {}).get("temperature", 1.0)
    parts = []
    if temperature != 1.0:
        parts.append(
            f"The probabilities are calibrated: the logits are divided by "
            f"{temperature:.3f}, fitted on the validation split. It changes no label."
        )
    if card["metrics"] is not None and measured != temperature:
        parts.append(
            "Calibration error and loss above were measured with the logits divided by "
            f"{measured:.3f}, not {temperature:.3f}: evaluate the run again, then "
            "export it."
        )
    return parts


def _describe_data(data: Mapping[str, Any]) -> str:
    rows = data["rows"] or {}
    counts = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    return _make_list(
        {
            "name": _escape(data["name"]),
            "rows": counts or NOT_RECORDED,
            "fingerprint (SHA-256 of splits.csv)": data["fingerprint"] or NOT_RECORDED,
        }
    )


def _describe_reading(card: Mapping[str, Any]) -> str:
    facts = {}
    if card["image_size_px"] is not None:
        facts["image"] = (
            f"resized to {card['image_size_px']} by {card['image_size_px']} px; "
            f"at most {card['max_image_px']:,} pixels"
        )
    if card["max_tokens"] is not None:
        facts["text"] = f"UTF-8; cut off after {card['max_tokens']} tokens"
    return _make_list(facts)


def _make_signature_table(signatures: Mapping[str, Any]) -> str:
    def describe(tensors: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{key} {info['dtype']} {_format_shape(info['shape'])}"
            for key, info in tensors.items()
        )

    return _make_table(
        ["signature", "inputs", "outputs"],
        [
            [name, describe(value["inputs"]), describe(value["outputs"])]
            for name, value in signatures.items()
        ],
        text_columns=3,
    )


def _describe_training(card: Mapping[str, Any]) -> str:
    facts = {}
    for branch, weights in card["weights"].items():
        start, licence = _escape(weights["start"]), weights["licence"] or NOT_RECORDED
        origin = "" if start == "random" else f", licence {_escape(licence)}"
        facts[f"{branch} branch began with"] = f"{start} weights{origin}"
    training = ", ".join(
        f"{key} {NOT_RECORDED if value is None else value}"
        for key, value in card["training"].items()
    )
    facts["trained with"] = _escape(training)
    for step, versions in card["versions"].items():
        text = ", ".join(f"{name} {version}" for name, version in versions.items())
        facts[f"versions, {step}"] = _escape(text or NOT_RECORDED)
    return _make_list(facts)


def _format_metric(key: str, value: float | None) -> str:
    if value is None:
        return ""
    factor = METRICS[key][1]
    return f"{factor * value:.1f}" if factor == 100 else f"{value:.3f}"


def _format_shape(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "[...]"
    return f"[{', '.join('b' if size is None else str(size) for size in shape)}]"


def _make_list(facts: Mapping[str, str]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in facts.items())


def _make_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1
) -> str:
    """Returns a table; the columns after the first ones, of text, hold numbers."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    lines = [header, rule, *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Returns the text on one line, what Markdown would read as markup made plain."""
    for character in "\\`*[]<>|#":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
