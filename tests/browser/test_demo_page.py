"""The demo as its user sees it: the command, in a browser."""

import base64
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from tf_multimodal.inference.predictor import Predictor

pytestmark = pytest.mark.browser

ROOT = pathlib.Path(__file__).parents[2]
MODULE = "tf_multimodal.inference.demo"
# What a user's drag from a folder makes of a file.
DROP = """([selector, base64]) => {
  const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
  for (const type of ["dragenter", "dragover", "drop"])
    document.querySelector(selector).dispatchEvent(
      new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""
READ_BARS = """selector => [...document.querySelectorAll(`${selector} meter`)]
  .map(bar => [bar.ariaLabel, bar.value])"""
WORDS = "#words .score-token"


@pytest.fixture(scope="module")
def demo(small_run, tmp_path_factory):
    """The address of the demo of the small run."""
    log = tmp_path_factory.mktemp("demo") / "log.txt"
    process, url = start_demo(small_run, log)
    yield url
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()


@pytest.fixture(scope="module")
def predictor(small_run):
    return Predictor.from_run(small_run)


def start_demo(run_dir, log, **environment):
    """Starts the command and waits for it; returns its process and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, f"--run={run_dir}", f"--port={port}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    for line in process.stdout:
        if found := re.search(r"Open (http://127\.0\.0\.1:\d+/)", line):
            return process, found[1]
    raise AssertionError(f"It ended with {process.wait()}: {log.read_text()}")


def wait_for_answer(page, predictor, image, text):
    """Waits until the bars are those of a pair; any other answer runs into timeout."""
    expected = predictor.predict([image], [text]).probabilities[0]
    names = [predictor.classes[i] for i in np.argsort(-expected, kind="stable")]
    bars = [[name, float(expected[predictor.classes.index(name)])] for name in names]
    page.wait_for_function(
        f"""([selector, bars]) => {{
          const found = ({READ_BARS})(selector);
          return found.length === bars.length && bars.every(([name, value], i) =>
            found[i][0] === name && Math.abs(found[i][1] - value) < 1e-4);
        }}""",
        arg=["#classes", bars],
    )
    return names[0]


def wait_for_words(page, words):
    page.wait_for_function(
        """([selector, words]) => [...document.querySelectorAll(selector)]
          .map(word => word.textContent.trim()).join("|") === words.join("|")""",
        arg=[WORDS, words],
    )


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1280, 900, "light"), (390, 844, "dark")]
)
def test_an_image_and_a_text(
    demo, open_page, small_run, predictor, width, height, scheme
):
    visit = open_page(demo, width, height, scheme)
    page = visit.page
    image = (small_run.parent / "0.png").read_bytes()
    page.get_by_label("Text", exact=True).fill("a red bird")
    wait_for_answer(page, predictor, None, "a red bird")
    assert page.evaluate(READ_BARS, "#shares") == [["text", 1], ["image", 0]]

    page.evaluate(DROP, ["#image [role=button], #image button", encode(image)])
    best = wait_for_answer(page, predictor, image, "a red bird")
    assert page.locator("#classes h2").inner_text() == best
    page.wait_for_function(
        "document.querySelector('#overlay img')?.naturalWidth === 16"
    )
    wait_for_words(page, ["a", "red", "bird"])
    colours = page.locator(WORDS).evaluate_all(
        "words => words.map(word => getComputedStyle(word).backgroundColor)"
    )
    assert len(set(colours)) == 3
    shares = dict(page.evaluate(READ_BARS, "#shares"))
    assert set(shares) == {"image", "text"} and 0 < shares["image"] < 1
    assert sum(shares.values()) == pytest.approx(1)

    # The answer moves with the text, and ends with that of the last letter.
    page.get_by_label("Text", exact=True).press_sequentially(" and two cats", delay=40)
    wait_for_answer(page, predictor, image, "a red bird and two cats")
    wait_for_words(page, ["a", "red", "bird", "and", "two", "cats"])
    assert not visit.scrolls_sideways()
    assert not visit.errors and not visit.foreign_requests, visit


def test_the_class_to_explain(demo, open_page, predictor):
    visit = open_page(demo)
    page = visit.page
    page.get_by_label("Text", exact=True).fill("two cats")
    best = wait_for_answer(page, predictor, None, "two cats")
    wait_for_words(page, ["two", "cats"])
    before = page.locator(WORDS).first.get_attribute("style")
    other = next(name for name in predictor.classes if name != best)
    page.get_by_label("Explain").click()
    page.get_by_role("option", name=other).click()
    page.wait_for_function(
        "([selector, style]) => document.querySelector(selector)"
        ".getAttribute('style') !== style",
        arg=[WORDS, before],
    )
    wait_for_answer(page, predictor, None, "two cats")
    assert not visit.errors, visit


def test_a_bad_image_is_named_and_masked(demo, open_page, small_run, predictor):
    visit = open_page(demo)
    page = visit.page
    good, bad = small_run.parent / "1.png", small_run.parent / "broken.png"
    page.locator("#image input[type=file]").set_input_files(good)
    wait_for_answer(page, predictor, good.read_bytes(), None)
    page.get_by_label("Text", exact=True).fill("a sign")
    page.wait_for_selector("#overlay img")
    page.get_by_label("Remove Image").click()
    page.locator("#image input[type=file]").set_input_files(bad)
    message = page.locator("#message")
    message.get_by_text("The answer rests on what is left.").wait_for()
    assert re.search("decode|truncated|PNG", message.inner_text()), message.inner_text()
    wait_for_answer(page, predictor, None, "a sign")
    assert not page.locator("#overlay img").count()

    page.get_by_label("Text", exact=True).fill("")
    page.wait_for_selector("#classes meter", state="detached")
    assert not visit.foreign_requests, visit


def test_a_text_is_no_markup(demo, open_page):
    visit = open_page(demo)
    text = "<img src=x onerror=alert(1)> ${1+1} {{value}} 猫 قط"
    visit.page.get_by_label("Text", exact=True).fill(text)
    words = "< img src = x onerror = alert ( 1 ) >"
    wait_for_words(visit.page, words.split()[:6])  # of max_tokens = 8, two are marks
    assert not visit.errors and not visit.page.locator("img[src=x]").count(), visit


def test_examples(demo, open_page, small_run, predictor):
    visit = open_page(demo)
    rows = visit.page.locator("#examples tbody tr")
    # The good ones of seven: broken and missing images are not offered.
    rows.filter(has_text="a red bird").click()
    image = (small_run.parent / "0.png").read_bytes()
    wait_for_answer(visit.page, predictor, image, "a red bird")
    assert visit.page.get_by_label("Text", exact=True).input_value() == "a red bird"
    rows.filter(has_text="a sign").click()  # it has no image
    wait_for_answer(visit.page, predictor, None, "a sign")
    assert not rows.filter(has_text="собака").count()
    assert not visit.errors and not visit.foreign_requests, visit


def test_nobody_else_is_served(demo):
    port = int(re.search(r":(\d+)/", demo)[1])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_and_leaves_nothing(small_run, open_page, tmp_path, number):
    """Also behind a proxy for all else, and with a page open."""
    proxy = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    log = tmp_path / "log.txt"
    folder = tmp_path / "temporary"
    folder.mkdir()
    process, url = start_demo(small_run, log, TMPDIR=str(folder), **proxy)
    page = open_page(url).page
    page.locator("#image input[type=file]").set_input_files(small_run.parent / "0.png")
    page.wait_for_selector("#classes meter")
    assert list(folder.glob("demo-*/**/*.png"))
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and output.strip().endswith("Ended.")
    assert "Traceback" not in log.read_text()
    assert not list(folder.glob("demo-*"))


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
