"""The demo without a browser; tests/browser/test_demo.py has the page itself."""

import importlib.util
import socket

import gradio
import numpy as np
import pytest

from tf_multimodal.inference import run_reader
from tf_multimodal.inference.demo import __main__ as demo
from tf_multimodal.inference.demo.examples import choose_examples
from tf_multimodal.inference.demo.page import Answers, make_page
from tf_multimodal.inference.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(small_run):
    return Predictor.from_run(small_run)


def test_the_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(demo.DemoError, match=rf"{port}.* in use.*--port"):
            demo.serve("no_run", port, 0)
    demo.check_port(port)


def test_gradio_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(demo.DemoError, match=r"pip install 'tf_multimodal\[demo\]'"):
        demo.serve("no_run", 1, 0)


def test_examples(predictor, small_run, tmp_path):
    """Good pairs of the test split, a class after the other, copied as they are."""
    examples = choose_examples(predictor, tmp_path, 4)
    texts = [example.text for example in examples]
    assert texts == ["a red bird", "$5 and $x^$ for two cats", "", "a sign"]
    assert examples[-1].image is None
    for example, name in zip(examples[:-1], ("0", "1", "3"), strict=True):
        expected = (small_run.parent / f"{name}.png").read_bytes()
        with open(example.image, "rb") as file:
            assert file.read() == expected
    assert len(choose_examples(predictor, tmp_path, 1)) == 1
    assert choose_examples(predictor, tmp_path, 0) == []


def test_no_examples_without_the_data(run_copy, tmp_path, capsys, monkeypatch):
    predictor = Predictor.from_run(run_copy)
    monkeypatch.setattr(run_reader, "load_run_source", _raise)
    assert choose_examples(predictor, tmp_path, 4) == []
    assert "No examples: pairs.csv is gone" in capsys.readouterr().err


def _raise(run):
    raise FileNotFoundError("pairs.csv is gone")


def test_answers(predictor, small_run):
    path = small_run.parent / "1.png"
    answers = Answers(predictor)
    classes, message, overlay, words, shares = answers.answer(
        {"path": str(path)}, "two cats", 1
    )
    expected = predictor.predict([path.read_bytes()], ["two cats"]).probabilities[0]
    assert list(classes) == list(predictor.classes)
    np.testing.assert_allclose(list(classes.values()), expected, atol=1e-5)
    assert message == "" and overlay.shape == (16, 16, 3) and overlay.std() > 1
    assert [word for word, _ in words] == ["two ", "cats "]
    assert max(abs(score) for _, score in words) == pytest.approx(1)
    assert sum(shares.values()) == pytest.approx(1)
    others = answers.answer({"path": str(path)}, "two cats", 0)
    assert others[0] == classes and others[3] != words


def test_nothing_to_go_by(predictor, small_run):
    answers = Answers(predictor)
    assert answers.answer(None, " \n", -1) == (None, "", None, [], None)
    broken = {"path": str(small_run.parent / "broken.png")}
    classes, message, *rest = answers.answer(broken, "", -1)
    assert classes is None and message and rest == [None, [], None]
    assert "rests on what is left" not in message


def test_a_model_of_images(image_run):
    predictor = Predictor.from_run(image_run)
    visible = list_visible(make_page(predictor))
    assert visible == {"image", "message", "classes", "target", "overlay"}
    path = str(image_run.parent / "0.png")
    classes, message, overlay, words, _ = Answers(predictor).answer(
        {"path": path}, None, -1
    )
    assert len(classes) == 3 and not message and overlay is not None and words == []


def test_several_labels_a_row(multi_label_run):
    predictor = Predictor.from_run(multi_label_run)
    page = make_page(predictor)
    bars = next(c for c in page.blocks.values() if c.elem_id == "classes")
    assert not bars.show_heading  # it would name one class as the answer
    classes, *_ = Answers(predictor).answer(None, "a sign", -1)
    expected = predictor.predict([None], ["a sign"]).probabilities[0]
    np.testing.assert_allclose(list(classes.values()), expected, atol=1e-5)


def test_the_page_asks_nobody_else(predictor, tmp_path):
    page = make_page(predictor, choose_examples(predictor, tmp_path, 2))
    assert not page.analytics_enabled
    assert list_visible(page) >= {"image", "text", "words", "shares", "examples"}


def list_visible(page: gradio.Blocks) -> set[str]:
    blocks = page.blocks.values()
    return {b.elem_id for b in blocks if b.elem_id and getattr(b, "visible", True)}
