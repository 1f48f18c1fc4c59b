"""Figures: drawn from the numbers, in the page's colours, and safe within it."""

import re
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import PIL.Image
import pytest
import sections as made_up

from tf_multimodal.evaluation.report import (
    drawing,
    figures,
    sheets,
    threshold_figures,
)

SVG = "{http://www.w3.org/2000/svg}"
NAMES = {  # of the figures that the page shows
    "headline",
    "text_worth",
    "class_gains",
    "curves_loss",
    "curves_accuracy",
    "precision_recall",
    "by_threshold",
    "coverage",
    "reliability_before",
    "reliability_after",
    "slices",
    "robustness_image",
    "robustness_text",
}
SHEETS = {"gallery_mistakes", "gallery_surprises", "suspects", "explanations"}


@pytest.fixture(scope="module")
def sections():
    return made_up.make_sections()


@pytest.fixture(scope="module")
def drawn(sections):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return figures.make_figures(sections)


def read_texts(figure):
    tree = ElementTree.fromstring(figure.svg)
    return ["".join(node.itertext()) for node in tree.iter(f"{SVG}text")]


def test_every_section_has_its_figures(drawn):
    assert set(drawn) == NAMES | {"confusion"}
    assert {name for name, figure in drawn.items() if figure.svg} == NAMES
    for figure in drawn.values():
        assert figure.png.startswith(b"\x89PNG") and figure.title and figure.alt


def test_svg_holds_the_pages_colours_and_no_ids_in_common(drawn):
    seen = set()
    for name in NAMES:
        svg = drawn[name].svg
        assert svg.startswith("<svg ") and svg.endswith("</svg>")
        assert "var(--" in svg and not re.search("#[0-9a-f]{6}", svg)
        for unwanted in ("<style", "<metadata", "<!--", "font-family"):
            assert unwanted not in svg
        assert " width=" not in svg.partition(">")[0]  # as wide as the page has it
        ids = set(re.findall(r' id="([^"]*)"', svg))
        assert not ids & seen
        seen |= ids
    assert "line-0" in seen


def test_names_are_text_and_cannot_be_markup(drawn):
    texts = read_texts(drawn["class_gains"])
    assert "computer <b>parts</b>" in texts
    assert "猫と犬" in texts and "חיות מחמד" in texts
    assert "<b>" not in drawn["class_gains"].svg
    assert "signs_and_symbols_wit…" in texts


def test_svg_of_names_that_look_like_its_own_code():
    sections = made_up.make_sections(
        ('x id="patch_1"', "3.14159", "#2456c4 ]]>", "-->")
    )
    figure = figures.make_figures(sections)["class_gains"]
    assert {'x id="patch_1"', "3.14159", "#2456c4 ]]>", "-->"} <= set(
        read_texts(figure)
    )


def test_gains_are_drawn_from_the_best_to_the_worst(sections, drawn):
    rows = sorted(sections["classes"]["rows"], key=lambda r: -r["gain"]["difference"])
    expected = [drawing.shorten(row["class"], 22) for row in rows]
    shown = [text for text in read_texts(drawn["class_gains"]) if text in expected]
    assert shown == expected
    assert "\N{MINUS SIGN}" in "".join(read_texts(drawn["class_gains"]))


def test_same_numbers_make_the_same_figure(sections, drawn):
    again = figures.make_figures(sections)
    assert {n: f.svg for n, f in again.items()} == {n: f.svg for n, f in drawn.items()}


def test_png_shows_something_in_the_light_colours(drawn, tmp_path):
    for name, figure in drawn.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(figure.png)
        pixels = np.asarray(PIL.Image.open(path).convert("RGB"))[::4, ::4]
        assert (pixels[0, 0] == [255, 255, 254]).all(), name
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20, name


def test_sections_without_numbers_have_no_figure(sections):
    missing = {"not_available": "no such thing"}
    assert figures.make_figures({name: missing for name in sections}) == {}
    classes = [{**row, "gain": None} for row in sections["classes"]["rows"]]
    robustness = {**sections["robustness"], "image": []}
    empty_bins = [{**b, "rows": 0} for b in sections["calibration"]["before"]["bins"]]
    calibration = dict(sections["calibration"], before={"ece": 0.0, "bins": empty_bins})
    changed = {
        "classes": {"rows": classes},
        "robustness": robustness,
        "slices": {**sections["slices"], "rows": []},
        "thresholds": {"classes": []},
        "curves": {"points": [{"step": 1, "loss": 0.5}]},
        "calibration": calibration,
    }
    found = set(figures.make_figures(changed))
    assert not found & {"class_gains", "robustness_image", "slices", "coverage"}
    assert {"robustness_text", "curves_loss", "reliability_before"} <= found


def test_many_classes_stay_readable():
    sections = made_up.make_sections(tuple(f"class {i}" for i in range(60)))
    found = figures.make_figures(sections)
    texts = read_texts(found["class_gains"])
    assert sum(text.startswith("class ") for text in texts) == figures.MAX_BARS
    assert found["confusion"].svg  # the top confusions: the matrix is too large
    most = threshold_figures.MAX_CURVES
    assert found["precision_recall"].svg.count('id="line-') == most
    assert found["by_threshold"].svg.count('id="at-recall-') == most
    assert len(threshold_figures.list_curves(sections["thresholds"])) == most


def test_one_class_alone_is_seen_over_the_threshold(sections, drawn):
    tree = ElementTree.fromstring(drawn["by_threshold"].svg)
    seen, hidden = [], []
    for group in tree.iter(f"{SVG}g"):
        if group.get("id", "").startswith("at-"):
            path = next(group.iter(f"{SVG}path"))
            is_hidden = "stroke-opacity: 0" in path.get("style", "")
            (hidden if is_hidden else seen).append(group.get("id"))
    first = threshold_figures.list_curves(sections["thresholds"])[0][0]
    assert seen == [f"at-precision-{first}", f"at-recall-{first}"]
    assert len(hidden) == 2 * (len(made_up.CLASSES) - 1)


def test_sheets_show_the_pictures_of_the_rows(sections, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {sheet.name: sheet for sheet in sheets.draw_sheets(sections)}
    assert set(found) == SHEETS
    for sheet in found.values():
        (tmp_path / "sheet.png").write_bytes(sheet.png)
        pixels = np.asarray(PIL.Image.open(tmp_path / "sheet.png").convert("RGB"))
        has_picture = (np.abs(pixels - [235, 235, 235.0]).max(axis=-1) < 4).mean()
        assert has_picture > 0.02, sheet.name  # the made-up pictures' grey
    assert sheets.draw_sheets({"examples": {}, "gallery": {}, "suspects": {}}) == []


@pytest.mark.parametrize(
    "text, columns, expected",
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("猫猫", 4, "猫猫"),
        ("猫猫", 3, "…"),
        ("a\tb", 9, "a b"),
    ],
)
def test_shorten_counts_wide_characters_twice(text, columns, expected):
    assert drawing.shorten(text, columns) == expected
