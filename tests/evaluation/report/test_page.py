"""The page: complete in one file, everything escaped, the numbers beside it."""

import copy
import html.parser
import json
import re

import pytest
import sections as made_up

from tf_multimodal.evaluation.report import formats, page

SECTIONS = (
    *("answer", "reads", "gains", "curves", "confusion", "classes", "thresholds"),
    *("calibration", "gallery", "suspects", "explanations", "slices", "robustness"),
    "how",
)
VOID = {"meta", "link", "img", "br", "input"}
NOT_AVAILABLE = (
    *("text_worth", "confusion", "thresholds", "calibration", "suspects", "curves"),
    *("explanations", "slices", "robustness"),
)


class Reader(html.parser.HTMLParser):
    """Elements, ids and visible text of a page; complains of tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.ids, self.open, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def find(self, tag, **attributes):
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]


@pytest.fixture(scope="module")
def sections():
    return made_up.make_sections()


@pytest.fixture(scope="module")
def folder(sections, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert page.write_report(sections, folder, "test") == folder / "test.html"
    return folder


@pytest.fixture(scope="module")
def reader(folder):
    return Reader((folder / "test.html").read_text(encoding="utf-8"))


def render(sections, **changes):
    return Reader(page.render_page({**sections, **changes}, {}))


def read_text(reader):
    return re.sub(r"[\s\N{NARROW NO-BREAK SPACE}]+", " ", "".join(reader.text))


def test_sections_in_order_each_with_a_heading(reader):
    found = [a["id"] for a in reader.find("section")]
    assert tuple(found) == SECTIONS
    assert [a["href"] for a in reader.find("a")][1:] == [f"#{name}" for name in found]
    for name in found:
        assert f"h-{name}" in reader.ids
    assert len(reader.ids) == len(set(reader.ids))


def test_nothing_is_loaded_from_elsewhere(folder, reader):
    for _, attributes in reader.elements:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), value
    text = (folder / "test.html").read_text(encoding="utf-8")
    assert "url(" not in re.sub(r"url\(#\w+\)", "", text)
    assert "@import" not in text


def test_texts_of_users_are_not_markup(folder, reader):
    text = read_text(reader)
    for written in (*made_up.CLASSES, made_up.HOSTILE, made_up.TEXTS[6]):
        assert " ".join(written.split()) in text, written
    assert len(reader.find("script")) == 2 and not reader.find("b", onerror="")
    html_text = (folder / "test.html").read_text(encoding="utf-8")
    assert made_up.HOSTILE not in html_text and "<img src=x" not in html_text
    assert all("onerror" not in attributes for _, attributes in reader.elements)


def test_accessible(reader):
    assert all(a.get("alt") for a in reader.find("img"))
    assert all(a.get("scope") in ("col", "row") for a in reader.find("th"))
    assert all(a.get("aria-label") for a in reader.find("div", role="img"))
    assert reader.find("html", lang="en") and reader.find("main")
    labelled = {a["for"] for a in reader.find("label")}
    assert {a["id"] for a in reader.find("select")} == labelled
    assert len(reader.find("button", **{"aria-haspopup": "dialog"})) > 20


def test_numbers_are_shown(reader):
    text = read_text(reader)
    assert "Yes: the text brings 7.0 points of accuracy over the image alone" in text
    assert "75.0 % 71.0 to 79.0 %" in text  # accuracy and its interval
    assert "< 0.001" in text  # McNemar
    assert "account for 57 % of the gain over the image alone (31 % to 93 %)" in text
    assert "Dividing the logits by 1.270" in text
    assert "\N{MINUS SIGN}15.0 *" in text  # a slice that survives
    assert "python -m tf_multimodal.evaluation.report --run=runs/x" in text


def test_the_masked_model_is_shown_as_itself(sections):
    # Of a run of its own the image is better than the same model's, masked.
    worth = copy.deepcopy(sections["text_worth"])
    worth["over_image"] |= {"accuracy": 0.727, "name": "the image alone (own run)"}
    html_text = page.render_page({**sections, "text_worth": worth}, {})
    reads = html_text.partition('id="reads"')[2].partition("</section>")[0]
    text = read_text(Reader(reads.partition(">")[2]))
    assert "image and text 75.0 % 71.0 to 79.0 % " in text
    assert "text masked 68.3 % 64.3 to 72.3 % 6.7 3.6 to 9.8" in text
    assert "image masked 22.0 % 18.0 to 26.0 % 53.0 49.9 to 56.1" in text
    assert "72.7" not in text and "the gain over the image alone (own run)" in text


def test_sign_test_stands_beside_mcnemar(sections, reader):
    text = read_text(reader)
    assert "11 < 0.001 0.017" in text
    assert "40 rows make 37 groups, so believe the sign test" in text
    headline = {**sections["headline"], "groups": 40}
    assert "so both may be believed" in read_text(render(sections, headline=headline))


def test_class_table_names_its_weights_and_inputs(sections):
    rows = copy.deepcopy(sections["classes"]["rows"])
    rows[0]["support"] = 1234.56
    inputs = {"image": "image (a run of its own)", "text": "text (image masked)"}
    changes = {
        "rows": rows,
        "inputs": inputs,
        "weighted": True,
        "notes": ["By weight."],
    }
    text = read_text(render(sections, classes={**sections["classes"], **changes}))
    assert "Class Weight Precision" in text and "1 234.6" in text
    assert "Image (a run of its own) Text (image masked) Gain" in text
    assert "less those of image (a run of its own)" not in text  # without the figure
    assert "By weight." in text


def test_calibration_on_the_rows_of_the_temperature_says_so(sections, reader):
    said = "It was fitted on these very rows"
    assert said not in read_text(reader)
    headline = {**sections["headline"], "split": "validation"}
    assert said in read_text(render(sections, headline=headline))


def test_page_shows_the_first_suspects(sections):
    html_text = page.render_page(sections, {})
    shown = html_text.partition('id="suspects"')[2].partition("</section>")[0]
    assert shown.count('class="card"') == 4
    assert "6 of them are in" in " ".join(shown.split())


def test_cells_name_their_rows(sections, reader):
    cells = [a["data-cell"] for a in reader.find("button") if "data-cell" in a]
    expected = sections["confusion"]["cells"]
    assert len(cells) == len(expected)
    first = expected[0]
    numbers = (first["label"], first["prediction"], first["count"], *first["positions"])
    assert " ".join(map(str, numbers)) in cells


def test_data_of_the_cells_has_their_pictures(folder, sections):
    text = (folder / "test.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found[1])
    behind = {p for cell in sections["confusion"]["cells"] for p in cell["positions"]}
    assert set(data["examples"]) == {str(position) for position in behind}
    assert data["classes"] == list(made_up.CLASSES)
    assert data["examples"]["1"]["thumbnail"]


def test_json_has_the_numbers_and_no_pictures(folder, sections):
    data = json.loads((folder / "test.json").read_text(encoding="utf-8"))
    assert set(data) == set(sections)
    assert data["slices"] == sections["slices"]
    assert data["examples"]["3"]["text"] == made_up.TEXTS[3]
    assert "thumbnail" not in data["examples"]["3"]
    assert "picture_jpeg" not in data["explanations"]["rows"][0]
    assert len(sections["examples"][3]["thumbnail"]) > 100  # it was not taken away


def test_figures_are_written_beside_the_page(folder):
    names = {path.name for path in (folder / "test").iterdir()}
    expected = {"headline.png", "confusion.png", "coverage.png", "explanations.png"}
    assert expected <= names
    assert not [name for name in names if not name.endswith(".png")]


def test_figures_of_an_earlier_report_go(sections, tmp_path):
    (tmp_path / "test").mkdir()
    for name in ("class_gains.png", "old.png", "mine.txt"):
        (tmp_path / "test" / name).write_bytes(b"old")
    rows = [{**row, "gain": None} for row in sections["classes"]["rows"]]
    classes = {**sections["classes"], "rows": rows}
    page.write_report({**sections, "classes": classes}, tmp_path, "test")
    names = {path.name for path in (tmp_path / "test").iterdir()}
    assert not names & {"class_gains.png", "old.png"}
    assert {"headline.png", "mine.txt"} <= names


def test_a_number_that_is_none_is_refused(sections, tmp_path):
    broken = copy.deepcopy(sections)
    broken["calibration"]["after"]["ece"] = float("nan")
    with pytest.raises(ValueError, match="'calibration'.*not finite"):
        page.write_report(broken, tmp_path, "test")
    assert not (tmp_path / "test.html").exists()


def test_lone_surrogates_do_not_stop_the_report(sections, tmp_path):
    changed = copy.deepcopy(sections)
    changed["how"]["run"] = "runs/\udcff"
    path = page.write_report(changed, tmp_path, "validation")
    assert "runs/&#56575;" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NOT_AVAILABLE)
def test_a_section_that_is_not_available_says_why(sections, name):
    reader = render(sections, **{name: {"not_available": "It has <no> meaning."}})
    assert "It has <no> meaning." in read_text(reader)


def test_without_text_the_report_begins_with_the_accuracy(sections):
    reader = render(sections, text_worth={"not_available": "The model reads no text."})
    text = read_text(reader)
    assert "The model is right in 75.0 % of the rows (95 % interval 71.0 %" in text
    assert "The text brings" not in text


def test_label_sets_have_their_own_metrics(sections):
    headline = {**copy.deepcopy(sections["headline"]), "multi_label": True}
    for row in headline["rows"]:
        del row["metrics"]["top3_accuracy"], row["intervals"]["top3_accuracy"]
        del row["metrics"]["ece"]
        row["metrics"] |= {"micro_f1": 0.811, "mean_average_precision": 0.622}
        row["intervals"]["micro_f1"] = [0.777, 0.833]
    rows = [{**row, "average_precision": 0.5} for row in sections["classes"]["rows"]]
    classes = {**sections["classes"], "rows": rows}
    text = read_text(render(sections, headline=headline, classes=classes))
    assert "Avg. precision" in text and "50.0 %" in text
    assert "Macro F1 Micro F1 mAP Loss" in text
    assert "81.1 % 77.7 to 83.3 % 62.2 % 0.900" in text


def test_empty_lists_say_so(sections):
    gallery = {**sections["gallery"], "mistakes": [], "surprises": []}
    text = read_text(render(sections, gallery=gallery, explanations={"rows": []}))
    assert text.count("There are none.") == 2
    assert "No rows were explained." in text


def test_large_reports_stay_small():
    classes = tuple(f"class {i} of a thousand" for i in range(1000))
    sections = made_up.make_sections(classes, rows=600)
    figures = page.figures_lib.make_figures(sections)
    text = page.render_page(sections, figures)
    assert len(text.encode()) < 10e6
    assert len(Reader(text).find("select")) == 1


@pytest.mark.parametrize(
    "form, value, expected",
    [
        ("percent", 0.7125, "71.2 %"),
        ("percent", -0.02, "−2.0 %"),
        ("percent", None, ""),
        ("points", 0.03, "+3.0"),
        ("points", -0.0501, "−5.0"),
        ("points", -0.0001, "0.0"),
        ("count", 1234567, "1 234 567"),
        ("p_value", 0.0004, "< 0.001"),
        ("p_value", 0.28, "0.280"),
        ("decimal", 12.0, "12"),
    ],
)
def test_numbers_are_written_alike(form, value, expected):
    found = formats.FILTERS[form](value)
    assert found.replace("\N{NARROW NO-BREAK SPACE}", " ") == expected
