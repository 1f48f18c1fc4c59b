"""The report's page in a real browser, as a reader uses it."""

import importlib.util
import pathlib

import pytest

from tf_multimodal.evaluation.report import page as report_page

pytestmark = pytest.mark.browser
PHONE, DESKTOP = (390, 844), (1280, 900)
SECTIONS_FILE = pathlib.Path(__file__).parents[1] / "evaluation/report/sections.py"


def load_sections_module():
    spec = importlib.util.spec_from_file_location("report_sections", SECTIONS_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made_up():
    return load_sections_module()


@pytest.fixture(scope="module")
def report(made_up, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return report_page.write_report(made_up.make_sections(), folder, "test")


@pytest.fixture(scope="module")
def large_report(made_up, tmp_path_factory):
    sections = made_up.make_sections(tuple(f"class {i}" for i in range(300)), rows=200)
    folder = tmp_path_factory.mktemp("large_report")
    return report_page.write_report(sections, folder, "test")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_opens_from_disk_without_complaint(report, open_page, size, scheme):
    visit = open_page(report, *size, scheme)
    page = visit.page
    visit.check_report(size[0])
    assert "owned" not in page.title()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_dark = "253, 253, 252" not in paper
    assert is_dark == (scheme == "dark"), paper


def test_large_report_fits_a_phone(large_report, open_page):
    visit = open_page(large_report, *PHONE)
    assert visit.errors == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    visit.page.click("#confusion button.link >> nth=0")
    assert visit.page.locator("#behind li").count() > 0


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_cell_shows_the_rows_behind_it(report, made_up, open_page, size):
    visit = open_page(report, *size)
    page = visit.page
    cell = made_up.make_sections()["confusion"]["top"][0]
    start = f"{cell['label']} {cell['prediction']} "
    page.click(f'[data-cell^="{start}"]')
    dialog = page.locator("#behind")
    assert dialog.is_visible()
    label, prediction = (made_up.CLASSES[cell[k]] for k in ("label", "prediction"))
    assert dialog.locator("h2").inner_text() == f"{label}, taken for {prediction}"
    cards = dialog.locator("li")
    assert cards.count() == len(cell["positions"])
    examples = made_up.make_sections()["examples"]
    for place, position in enumerate(cell["positions"]):
        example, card = examples[position], cards.nth(place)
        assert example["id"] in card.inner_text()
        assert card.locator(".said").inner_text().startswith(example["prediction"])
        if example["thumbnail"]:
            width = card.locator("img").evaluate("(image) => image.naturalWidth")
            assert width > 0
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert visit.errors == []


def test_a_hostile_text_stays_a_text_in_the_dialog(report, made_up, open_page):
    page = open_page(report, *DESKTOP).page
    page.evaluate("document.querySelector('[data-cell]').dataset.cell = '0 1 2 6 0'")
    page.click("[data-cell] >> nth=0")
    assert made_up.HOSTILE in page.locator("#behind").inner_text()
    assert "onerror" in page.locator("#behind").inner_text()
    assert "owned" not in page.title()
    assert page.locator("#behind script").count() == 0


def test_a_click_on_a_head_sorts_the_table(report, open_page):
    page = open_page(report, *DESKTOP).page
    head = page.locator("#classes th", has_text="Gain")
    column = (
        page.locator("#classes thead th").all_inner_texts().index(head.inner_text())
    )
    read = f"rows => rows.map((row) => Number(row.cells[{column}].dataset.value))"

    def read_values():
        return page.eval_on_selector_all("#classes tbody tr", read)

    before = read_values()
    head.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert read_values() == sorted(before, reverse=True) != before
    head.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert read_values() == sorted(before)
    page.locator("#classes th button >> nth=0").press("Enter")
    assert head.get_attribute("aria-sort") is None
    names = page.locator("#classes tbody th").all_inner_texts()
    latin = [name for name in names if name[0] in "acs"]
    assert latin == sorted(latin) and len(latin) == 3


def test_the_chosen_class_stands_out(report, made_up, open_page):
    page = open_page(report, *PHONE).page
    page.select_option("#choose-class", label=made_up.CLASSES[3])
    assert page.locator("[id^=line-].chosen").get_attribute("id") == "line-3"
    shown = page.eval_on_selector_all(
        "[id^=at-]",
        "all => all.filter((g) => getComputedStyle(g).visibility === 'visible' &&"
        " getComputedStyle(g.querySelector('path')).strokeOpacity === '1')"
        ".map((g) => g.id)",
    )
    assert sorted(shown) == ["at-precision-3", "at-recall-3"]
    assert "33 rows" in page.locator("#class-facts").inner_text()
    widths = page.eval_on_selector_all(
        "[id^=line-] path", "all => all.map((p) => getComputedStyle(p).strokeWidth)"
    )
    assert sorted(set(widths)) == ["0.8px", "2.4px"] and widths.count("2.4px") == 1


def test_the_button_changes_the_scheme_and_the_figures(report, open_page):
    page = open_page(report, *DESKTOP, "light").page
    read = "getComputedStyle(document.querySelector('#gains svg text')).fill"
    light = page.evaluate(read)
    page.click("#theme")
    assert page.evaluate("document.documentElement.style.colorScheme") == "dark"
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    assert page.evaluate(read) != light
    page.reload()
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    page.click("#theme")
    assert page.evaluate(read) == light
