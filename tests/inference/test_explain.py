"""The command: a picture, what it says, and what it refuses."""

import functools

import attribution_samples as samples
import matplotlib.image
import numpy as np
import pytest

from tf_multimodal.inference.attributions.explanation import Explanation, WordScore
from tf_multimodal.inference.attributions.picture import (
    choose_words,
    draw_explanation,
    make_overlay,
    write_explanation,
)
from tf_multimodal.inference.explain import describe, explain_pair
from tf_multimodal.inference.predictor import Predictor


@pytest.fixture(scope="module", autouse=True)
def load_runs_once():
    """Loads each run once for all tests here, which change none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictor, "from_run", functools.cache(Predictor.from_run))
        yield


def read_png(path) -> np.ndarray:
    return matplotlib.image.imread(path)[..., :3]


def test_picture_is_written_and_shows_the_text(small_run, tmp_path, capsys):
    image = str(small_run.parent / "0.png")
    pictures = []
    for text in ("a red bird", "two cats $5 $x"):
        path = tmp_path / f"{len(pictures)}.png"
        explanation = explain_pair(small_run, image, text, path)
        assert explanation.status == "ok" and explanation.completeness_gap <= 0.01
        pictures.append(read_png(path))
    assert pictures[0].shape[1] > 1000 and pictures[0].std() > 0.1
    height = min(len(picture) for picture in pictures)
    assert np.abs(pictures[0][-height:] - pictures[1][-height:]).max() > 0.3
    assert not capsys.readouterr().err


def test_class_is_chosen_by_name(small_run, tmp_path):
    path = tmp_path / "out.png"
    explanation = explain_pair(small_run, None, "a red bird", path, "cat")
    assert explanation.target == 1
    assert explanation.heat_map is None and explanation.image_share == 0
    with pytest.raises(ValueError, match="bird, cat, signs_and_symbols.*'dog'"):
        explain_pair(small_run, None, "a red bird", path, "dog")


def test_bad_image_is_named_and_masked(small_run, tmp_path, capsys):
    bad = str(small_run.parent / "broken.png")
    path = tmp_path / "out.png"
    explanation = explain_pair(small_run, bad, "a red bird", path)
    assert explanation.status == "undecodable_image" and path.stat().st_size > 5000
    assert explanation.heat_map is None and explanation.text_share == 1
    assert bad in capsys.readouterr().err


def test_nothing_to_explain(small_run, tmp_path):
    path = tmp_path / "out.png"
    bad = str(small_run.parent / "gone.png")
    with pytest.raises(ValueError, match="nothing to explain. .*gone.png"):
        explain_pair(small_run, bad, None, path)
    with pytest.raises(ValueError, match=r"must end in .png. Received: .*out.jpg"):
        explain_pair(small_run, None, "a red bird", tmp_path / "out.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_text_is_nothing_to_a_model_of_images(image_run, tmp_path):
    with pytest.raises(ValueError, match="nothing to explain"):
        explain_pair(image_run, None, "a red bird", tmp_path / "out.png")


def test_overlay_shows_the_heat_and_keeps_the_rest():
    picture = samples.make_pixels(1)[0]
    heat_map = np.zeros(picture.shape[:2], np.float32)
    heat_map[:8, :8] = 1
    overlay = make_overlay(picture, heat_map)
    assert overlay.dtype == np.uint8 and overlay.shape == picture.shape
    np.testing.assert_array_equal(overlay[8:], picture[8:])
    assert np.abs(overlay[:8, :8].astype(int) - picture[:8, :8]).mean() > 20


def make_explanation(**changes) -> Explanation:
    picture = samples.make_pixels(1)[0]
    values = {
        "target": 2,
        "probabilities": np.array([0.1, 0.2, 0.7], np.float32),
        "heat_map": np.linspace(0, 1, picture[..., 0].size).reshape(32, 32),
        "picture": picture,
        "words": (WordScore("a", 0.5), WordScore("cat", -1.0)),
        "completeness_gap": 0.004,
        "image_share": 0.25,
        "text_share": 0.75,
        "status": "ok",
    }
    return Explanation(**{**values, **changes})


def list_texts(figure) -> list[str]:
    figure.canvas.draw()
    artists = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return [artist.get_text() for artist in artists]


def test_figure_names_what_it_shows():
    texts = list_texts(draw_explanation(make_explanation(), samples.CLASSES))
    assert "sign  70.0%" in texts and "20.0%" in texts
    assert {"a", "cat", "image 25%", "text 75%", "sum is off by 0.40%"} <= set(texts)
    assert any("for (right) and against sign" in text for text in texts)


def test_figure_of_what_is_missing(tmp_path):
    nothing = make_explanation(
        heat_map=None,
        picture=None,
        words=(),
        completeness_gap=None,
        image_share=None,
        text_share=None,
    )
    texts = list_texts(draw_explanation(nothing, samples.CLASSES))
    assert {"no image", "no text", "nothing to go by"} <= set(texts)


def test_figure_of_strange_words_and_many_classes(tmp_path):
    words = tuple(
        WordScore(text, score)
        for text, score in zip(
            ["$x$", "猫", "😀", "\u202eabc", "w" * 90, "\x07", "<b>"],
            np.linspace(-1, 1, 7),
            strict=True,
        )
    )
    words += tuple(WordScore(f"w{i}", 0.001) for i in range(60))
    probabilities = np.full(300, 1 / 300, np.float32)
    explanation = make_explanation(words=words, probabilities=probabilities, target=299)
    classes = [f"class {i} " + "n" * 50 for i in range(300)]
    texts = list_texts(draw_explanation(explanation, classes))
    assert any("43 weaker ones left out" in text for text in texts)
    assert any(text.startswith("class 299") for text in texts)  # though not the best
    assert max(map(len, texts)) < 110
    write_explanation(explanation, classes, tmp_path / "strange.png")
    assert read_png(tmp_path / "strange.png").shape[0] < 2000


def test_strongest_words_stay_in_order():
    words = [WordScore("a", 0.1), WordScore("b", -3), WordScore("c", 2)]
    assert [word.text for word in choose_words(words, 2)] == ["b", "c"]


def test_summary():
    text = describe(make_explanation())
    assert text == "image 25%, text 75%; strongest words: cat -1.00, a +0.50."


@pytest.mark.slow
def test_command(small_run, tmp_path, run_command):
    output = tmp_path / "why.png"
    command = ("-m", "tf_multimodal.inference.explain", f"--run={small_run}")
    image = small_run.parent / "0.png"
    result = run_command(
        *command, f"--image={image}", "--text=a cat", f"--output={output}"
    )
    assert f"Wrote {output}: image" in result.stdout
    assert read_png(output).std() > 0.1
    wrong = run_command(
        *command, "--text=a cat", f"--output={output}", "--class=dog", expect=1
    )
    assert "Error: --class must be one of bird" in wrong.stderr
    nothing = run_command(*command, f"--output={output}", expect=1)
    assert "--image and/or --text" in nothing.stdout + nothing.stderr
