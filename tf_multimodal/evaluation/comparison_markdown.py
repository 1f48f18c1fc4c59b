"""A comparison of runs, as Markdown."""

from collections.abc import Mapping
from typing import Any

from tf_multimodal.evaluation.markdown import METRICS, escape, make_table

_ABOUT = (
    "Intervals are of 95 %, drawn by group of near-duplicates (bootstrap); those of "
    "differences are paired, on the same rows. McNemar's exact test counts rows that "
    "only one of the two gets right; Holm adjusts it for the number of pairs. The sign "
    "test counts groups in the place of rows: believe it where the two differ."
)
_SMALLEST_P = 0.001


def make_report(result: Mapping[str, Any]) -> str:
    """Returns the report.

    Args:
        result: of `compare.compare_runs`.
    """
    names = [escape(model["name"]) for model in result["models"]]
    runs = " ".join(model["run"] for model in result["models"])
    command = (
        f"python -m tf_multimodal.evaluation.compare {runs} --split={result['split']}"
    )
    parts = [
        f"# {' and '.join(names)}: {result['split']}",
        make_tables(result),
        _ABOUT,
        f"`{command}`",
    ]
    return "\n\n".join(parts) + "\n"


def make_tables(result: Mapping[str, Any]) -> str:
    """Returns what was compared, each run's metrics and each pair's differences."""
    weighted = " Rows count by their weights, in tests as one." * result["weighted"]
    parts = [
        f"{result['rows']} rows in {result['groups']} groups, which every run has in "
        f"its split {result['split']}; {len(result['classes'])} classes.{weighted}",
        *_describe_left_out(result),
        _make_model_table(result),
        *_describe_calibration(result),
        _make_pair_table(result),
    ]
    return "\n\n".join(parts)


def _describe_left_out(result: Mapping[str, Any]) -> list[str]:
    lines = [
        f"- {escape(model['name'])}: {model['split_rows']} rows in the split; left out "
        + ", ".join(f"{n} {escape(why)}" for why, n in model["left_out"].items())
        for model in result["models"]
        if model["left_out"]
    ]
    return ["\n".join(lines)] if lines else []


def _describe_calibration(result: Mapping[str, Any]) -> list[str]:
    """Returns which runs are not calibrated, where others are."""
    temperatures = {m["name"]: m["temperature"] for m in result["models"]}
    plain = [escape(name) for name, value in temperatures.items() if value == 1.0]
    if not 0 < len(plain) < len(temperatures):
        return []
    return [
        "Not calibrated, so that loss and calibration error are as training left them: "
        f"{', '.join(plain)}. python -m tf_multimodal.evaluation.report calibrates a "
        "run."
    ]


def _make_model_table(result: Mapping[str, Any]) -> str:
    models = result["models"]
    columns = [key for key in METRICS if key in models[0]["metrics"]]
    rows = []
    for model in models:
        cells = [model["name"], model["modalities"].replace("_", " and ")]
        for key in columns:
            cell = _format(key, model["metrics"][key])
            if key in model["intervals"]:
                low, high = (_format(key, end) for end in model["intervals"][key])
                cell += f" ({low} to {high})"
            cells.append(cell)
        rows.append([*cells, f"{model['temperature']:.3f}"])
    header = ["run", "reads", *(METRICS[key] for key in columns), "temperature"]
    return make_table(header, rows, text_columns=2)


def _make_pair_table(result: Mapping[str, Any]) -> str:
    rows = []
    for pair in result["pairs"]:
        row_test, group_test = pair["mcnemar"], pair["sign_test"]
        cells = [pair["of"], pair["over"]]
        for key in ("accuracy", "macro_f1", "loss"):
            difference, (low, high) = pair[key]["difference"], pair[key]["interval"]
            values = [_format(key, value, "+") for value in (difference, low, high)]
            cells.append(f"{values[0]} ({values[1]} to {values[2]})")
        cells += [
            f"{row_test['only_a']} : {row_test['only_b']}",
            _format_p(row_test["p_value"]),
            _format_p(pair["p_holm"]),
            f"{group_test['only_a']} : {group_test['only_b']}",
            _format_p(group_test["p_value"]),
        ]
        rows.append(cells)
    header = [
        "run",
        "over",
        "accuracy, points",
        "macro F1, points",
        "loss",
        "rows only right in",
        "McNemar p",
        "Holm p",
        "groups only better in",
        "sign test p",
    ]
    return make_table(header, rows, text_columns=2)


def _format(key: str, value: float, sign: str = "") -> str:
    return f"{value:{sign}z.3f}" if key == "loss" else f"{100 * value:{sign}z.1f}"


def _format_p(p_value: float) -> str:
    return f"< {_SMALLEST_P}" if p_value < _SMALLEST_P else f"{p_value:.3f}"
