"""How the report writes numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2

SHOWN_SUSPECTS = 24  # where the section does not say
_MINUS, _SPACE = "\N{MINUS SIGN}", "\N{NARROW NO-BREAK SPACE}"


def number(share: float | None, digits: int = 1) -> str:
    """Returns a share as a percentage without its sign; empty where there is none."""
    if share is None or isinstance(share, jinja2.Undefined):
        return ""
    return _write(f"{100 * share:.{digits}f}")


def percent(share: float | None, digits: int = 1) -> str:
    """Returns a share as a percentage, such as `71.3 %`; empty where there is none."""
    text = number(share, digits)
    return f"{text}{_SPACE}%" if text else ""


def format_points(share: float | None, digits: int = 1) -> str:
    """Returns a difference of shares in points, with its sign, such as `+3.0`."""
    if share is None or isinstance(share, jinja2.Undefined):
        return ""
    return _write(f"{100 * share:+.{digits}f}")


def format_amount(value: float) -> str:
    """Returns a sum of weights, as a whole number where it is one."""
    return f"{value:,.1f}".removesuffix(".0").replace(",", _SPACE)


def count(value: int) -> str:
    """Returns a whole number with its thousands set apart."""
    return f"{value:,}".replace(",", _SPACE)


def p_value(value: float) -> str:
    """Returns a p-value to three places."""
    return f"{value:.3f}" if value >= 0.001 else f"<{_SPACE}0.001"


def decimal(value: float) -> str:
    """Returns a number without zeros that say nothing."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def describe_class(row: Mapping[str, Any]) -> str:
    """Returns what the thresholds of a class come to, as a sentence or two."""
    average = row["average_precision"]
    text = f"{count(row['support'])} rows"
    if average is not None:
        text += f", average precision {percent(average)}"
    best = row["best"]
    if best is None:
        return text + "."
    return text + (
        f". Best F1, {percent(best['f1'])}, from a probability of "
        f"{percent(best['threshold'])} on: precision {percent(best['precision'])}, "
        f"recall {percent(best['recall'])}."
    )


def list_shown(suspects: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the suspects that the page shows; the JSON may hold more of them."""
    return suspects.get("rows", ())[: suspects.get("shown", SHOWN_SUSPECTS)]


def find_largest(words: Sequence[tuple[str, float]]) -> float:
    """Returns the largest size of a score, at least a little more than nothing."""
    return max([1e-12, *(abs(score) for _, score in words)])


def _write(text: str) -> str:
    """Returns a number with a true minus sign, and zero without any sign."""
    return text.replace("-", _MINUS) if text.strip("+-0.") else text.lstrip("+-")


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "percent": percent,
    "points": format_points,
    "amount": format_amount,
    "count": count,
    "p_value": p_value,
    "decimal": decimal,
    "facts": describe_class,
    "largest": find_largest,
    "list_shown": list_shown,
}
