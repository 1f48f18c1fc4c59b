"""The report of a real run, made as the command makes it, in a real browser."""

import shutil

import pytest

pytestmark = pytest.mark.browser
PHONE, DESKTOP = (390, 844), (1280, 900)
MOST_BYTES = 10_000_000
HEADINGS = (
    "How good is it?",
    "Does it read the text?",
    "Where does the text help, where does it hurt?",
    "How did it learn?",
    "What is taken for what?",
    "Class by class",
    "How sure must it be?",
    "Can its confidence be believed?",
    "Confident mistakes, surprising rights",
    "Labels that may be wrong",
    "What does it go by?",
    "Where is it worst?",
    "What does it withstand?",
    "How this was made",
)


@pytest.fixture(scope="module")
def report(small_run, tmp_path_factory):
    from tf_multimodal.evaluation.report.build import report_run

    run = shutil.copytree(small_run, tmp_path_factory.mktemp("report") / "run")
    return report_run(run)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_report_of_a_run_opens_without_complaint(report, open_page, size):
    visit = open_page(report.path, *size)
    page = visit.page
    visit.check_report(size[0])
    assert tuple(page.locator("main h2:visible").all_inner_texts()) == HEADINGS
    assert page.locator("main p.answer").inner_text().startswith(report.sentence[:20])


def test_sections_show_the_run_and_links_lead_to_them(report, open_page):
    page = open_page(report.path, *DESKTOP).page
    title = page.locator("h1").inner_text()
    assert f"{report.sections['headline']['examples']} rows" in title
    for link in page.locator("nav a").all():
        section = page.locator(link.get_attribute("href"))
        assert len(section.inner_text()) > 80, link.inner_text()
    rows = page.locator("#classes tbody tr")
    assert rows.count() == 3
    assert page.locator("#explanations img").count() > 0
    page.click("[data-cell] >> nth=0")
    assert page.locator("#behind li").count() > 0


def test_report_of_a_run_is_small(report):
    assert 50_000 < report.path.stat().st_size < MOST_BYTES
