"""The report as files: one page that needs no other, the numbers, the figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tf_multimodal.data.atomic_file import write_atomically, write_text
from tf_multimodal.evaluation.report import figures as figures_lib
from tf_multimodal.evaluation.report.drawing import Drawing, shorten
from tf_multimodal.evaluation.report.formats import (
    FILTERS,
    format_points,
    number,
    percent,
)
from tf_multimodal.evaluation.report.sheets import draw_sheets
from tf_multimodal.evaluation.report.threshold_figures import list_curves

Sections = Mapping[str, Any]
_PICTURES = ("thumbnail", "picture_jpeg", "heat_map_jpeg")  # the JSON has numbers
_TILES = 4  # numbers at the top
_KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # shares of the answers, of the small table


def write_report(sections: Sections, folder: str | Path, split: str) -> Path:
    """Writes `<split>.html`, `<split>.json` and `<split>/NAME.png` of each figure.

    PNGs of an earlier report on the split are removed.

    Args:
        sections: by name, as the makers of the report return them; `examples` by
            position holds every row that another section shows.
        folder: where to; made where it is missing.
        split: its name.

    Returns:
        The path of the page.

    Raises:
        ValueError: a number is not finite; the message names its section.
    """
    folder = Path(folder)
    numbers = _leave_out_pictures(sections)
    _check_finite(numbers)
    text = json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
    figures = figures_lib.make_figures(sections)
    written = set()
    for figure in [*figures.values(), *draw_sheets(sections)]:
        written.add(folder / split / f"{figure.name}.png")
        with write_atomically(folder / split / f"{figure.name}.png") as path:
            path.write_bytes(figure.png)
    for left_over in set((folder / split).glob("*.png")) - written:
        left_over.unlink()
    write_text(folder / f"{split}.json", _encode(text + "\n", "backslashreplace"))
    html = render_page(sections, figures)
    write_text(folder / f"{split}.html", _encode(html, "xmlcharrefreplace"))
    return folder / f"{split}.html"


def render_page(sections: Sections, figures: Mapping[str, Drawing]) -> str:
    """Returns the page; all that it needs stands in it.

    Args:
        sections: by name; see `write_report`.
        figures: by name; see `figures.make_figures`.
    """
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,  # names and texts are other people's
    )
    environment.filters.update(FILTERS, shorten=shorten)
    confusion, thresholds = sections["confusion"], sections["thresholds"]
    cells = confusion.get("cells", ())
    behind = {position for cell in cells for position in cell["positions"]}
    return environment.get_template("page.html").render(
        **sections,
        figures=figures,
        lead=_make_lead(sections),
        tiles=_make_tiles(sections),
        facts=_make_facts(sections),
        cells={(cell["label"], cell["prediction"]): cell for cell in cells},
        shown_curves=list_curves(thresholds),
        coverage_points=_choose_coverage(thresholds.get("coverage")),
        data={
            "classes": sections["classes"]["names"],
            "examples": {i: sections["examples"][i] for i in sorted(behind)},
        },
        style=Markup((here / "page.css").read_text(encoding="utf-8")),
        script=Markup((here / "page.js").read_text(encoding="utf-8")),
    )


def _make_lead(sections: Sections) -> tuple[str, str]:
    """Returns the sentence that the report begins with: its first clause, the rest."""
    sentence = sections["text_worth"].get("sentence")
    if sentence:
        head, _, rest = str(sentence).partition("; ")
        return (f"{head}.", rest[0].upper() + rest[1:]) if rest else (head, "")
    first = sections["headline"]["rows"][0]
    low, high = first["intervals"]["accuracy"]
    return (
        f"The model is right in {percent(first['metrics']['accuracy'])} of the rows "
        f"(95 % interval {percent(low)} to {percent(high)}).",
        "",
    )


def _make_tiles(sections: Sections) -> list[dict[str, str]]:
    """Returns name, value, unit and note of the numbers at the top."""
    first = sections["headline"]["rows"][0]
    accuracy, macro_f1 = (
        (name, number(first["metrics"][key]), "%", _note(first["intervals"].get(key)))
        for name, key in (("Accuracy", "accuracy"), ("Macro F1", "macro_f1"))
    )
    tiles: list[tuple[str, ...]] = [accuracy]
    worth = sections["text_worth"]
    if "not_available" not in worth:
        tiles.append(_make_gain_tile("The text brings", worth["over_image"]))
        if worth["over_better"]["modality"] == "text":
            tiles.append(_make_gain_tile("The image brings", worth["over_better"]))
    calibration = sections["calibration"]
    if "not_available" not in calibration:
        before, after = (calibration[k]["ece"] for k in ("before", "after"))
        note = f"{percent(before)} before temperature scaling"
        tiles.append(("Calibration error", number(after), "%", note))
    if len(tiles) < _TILES:
        tiles.insert(1, macro_f1)
    keys = ("name", "value", "unit", "note")
    return [dict(zip(keys, tile, strict=True)) for tile in tiles]


def _make_gain_tile(name: str, gain: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = (format_points(end) for end in gain["interval"])
    value = format_points(gain["difference"])
    return name, value, "points", f"{low} to {high}, over {gain['name']}"


def _note(interval: list[float] | None) -> str:
    if interval is None:
        return ""
    return f"95 % interval {percent(interval[0])} to {percent(interval[1])}"


def _make_facts(sections: Sections) -> list[tuple[str, str]]:
    """Returns what tells how the report was made, name and text."""
    how, headline = sections["how"], sections["headline"]
    statuses = ", ".join(
        f"{count} {name.replace('_', ' ')}"
        for name, count in headline["statuses"].items()
        if count
    )
    versions = ", ".join(f"{name} {v}" for name, v in how["versions"].items())
    return [
        ("Run", how["run"]),
        ("Command", how["command"]),
        (
            "Rows",
            f"{headline['examples']} of the {headline['split']} split: {statuses}",
        ),
        ("Left out", f"{how['left_out']} rows of the source that cannot be used"),
        ("Reads", headline["modalities"].replace("_", " and ")),
        ("Temperature", f"{how['temperature']:.4f}"),
        ("Seed", str(how["seed"])),
        ("Versions", versions),
    ]


def _choose_coverage(
    coverage: Mapping[str, list[float]] | None,
) -> list[tuple[float, float, float]]:
    """Returns coverage, confidence and accuracy of the points nearest to `_KEPT`."""
    if not coverage or not coverage["coverage"]:
        return []
    kept = coverage["coverage"]
    nearest = [min(range(len(kept)), key=lambda i: abs(kept[i] - x)) for x in _KEPT]
    return [
        (kept[i], coverage["confidence"][i], coverage["accuracy"][i])
        for i in dict.fromkeys(nearest)
    ]


def _check_finite(sections: Sections) -> None:
    """Raises ValueError that names the section of a number that JSON cannot hold."""
    for name, section in sections.items():
        try:
            json.dumps(section, allow_nan=False)
        except ValueError as error:
            raise ValueError(
                f"The section {name!r} of the report holds a number that is not "
                f"finite: {error}. Expected finite numbers. Look for rows of the split "
                "whose probabilities or weights are not finite."
            ) from error


def _leave_out_pictures(value: Any) -> Any:
    """Returns the same without pictures, of any depth."""
    if isinstance(value, Mapping):
        return {
            key: _leave_out_pictures(item)
            for key, item in value.items()
            if key not in _PICTURES
        }
    if isinstance(value, list | tuple):
        return [_leave_out_pictures(item) for item in value]
    return value


def _encode(text: str, errors: str) -> str:
    """Returns the text without lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", errors).decode("utf-8")
