"""One status a row: which trouble comes first, and texts that are not UTF-8."""

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data import pipeline, row_status, spec
from tf_multimodal.data.dropped import DroppedRows

BAD_TEXTS = (
    b"\xff",
    b"a cat\xe2\x82",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
)
GOOD_TEXTS = (
    "a cat",
    "",
    "a\0b",
    "\ufeffcat",
    "\ufffd",
    "\uffff",
    "é",
    "🎉",
    "\x07\x85",
)


def run(images, texts, preprocessor):
    x, status = pipeline.make_inputs(
        tf.constant(images), tf.constant(texts), preprocessor
    )
    return x, [spec.STATUSES[code] for code in status]


def test_texts_are_utf_8_as_python_has_it():
    texts = [*BAD_TEXTS, *(text.encode() for text in GOOD_TEXTS)]
    kept, status = row_status.check_texts(tf.constant(texts))
    names = [spec.STATUSES[code] for code in status]
    expected = [spec.UNDECODABLE_TEXT] * len(BAD_TEXTS) + [spec.OK] * len(GOOD_TEXTS)
    assert names == expected
    assert kept.numpy().tolist() == [b""] * len(BAD_TEXTS) + texts[len(BAD_TEXTS) :]


def test_the_image_comes_first_then_the_text(make_source, make_preprocessor):
    good, bad, text = make_source(1).images[0], b"hello", b"\xff"
    large = good[:16] + b"\x00\x01\x00\x00" * 2 + good[24:]
    rows = (
        (good, b"cat", spec.OK),
        (good, b"", spec.OK),
        (b"", b"cat", spec.OK),
        (b"", b"", spec.MISSING_INPUT),
        (b"", b" \n", spec.MISSING_INPUT),
        (bad, b"cat", spec.UNDECODABLE_IMAGE),
        (bad, b"", spec.UNDECODABLE_IMAGE),
        (bad, text, spec.UNDECODABLE_IMAGE),
        (large, text, spec.IMAGE_TOO_LARGE),
        (good, text, spec.UNDECODABLE_TEXT),
        (b"", text, spec.UNDECODABLE_TEXT),
    )
    images, texts, expected = zip(*rows, strict=True)
    preprocessor = make_preprocessor()
    x, status = run(images, texts, preprocessor)
    assert status == list(expected)
    present = [image == good for image in images]
    assert x[spec.HAS_IMAGE].numpy().tolist() == present
    assert x[spec.HAS_TEXT].numpy().tolist() == [t == b"cat" for t in texts]
    for row in range(len(rows)):  # each as it is alone
        alone, _ = run(images[row : row + 1], texts[row : row + 1], preprocessor)
        for key, value in alone.items():
            np.testing.assert_array_equal(value[0], x[key][row])


def test_a_modality_that_the_model_lacks_is_not_looked_at(
    make_source, make_preprocessor
):
    good = make_source(1).images[0]
    images, texts = [good, b"hello", b""], [b"\xff", b"cat", b"cat"]
    _, status = run(images, texts, make_preprocessor("image"))
    assert status == [spec.OK, spec.UNDECODABLE_IMAGE, spec.MISSING_INPUT]
    images, texts = [good, b"hello", good], [b"\xff", b"cat", b""]
    _, status = run(images, texts, make_preprocessor("text"))
    assert status == [spec.UNDECODABLE_TEXT, spec.OK, spec.MISSING_INPUT]


def test_the_preprocessor_holds_the_limit(make_source, make_preprocessor):
    preprocessor = make_preprocessor()
    preprocessor.max_image_px = 20 * 24 - 1
    images = make_source(1).images.tolist()
    assert run(images, ["cat"], preprocessor)[1] == [spec.IMAGE_TOO_LARGE]
    preprocessor.max_image_px = 20 * 24
    assert run(images, ["cat"], preprocessor)[1] == [spec.OK]


def test_long_texts_are_texts(make_preprocessor):
    texts = ["cat " * 25_000, "x" * 100_000, "🎉" * 100_000, "\u0301" * 100_000]
    x, status = run([""] * 4, texts, make_preprocessor("text"))
    assert status[:3] == [spec.OK] * 3
    assert x[spec.TOKEN_IDS].shape == (4, 6)


@pytest.mark.parametrize("policy", ["drop", "mask"])
def test_training_follows_the_same_rules(
    policy, make_source, make_preprocessor, config
):
    source = make_source(4, texts=["cat", "cat", b"\xff", "cat"])
    source.images[0] = source.images[0][:16] + b"\0\1\0\0" * 2 + source.images[0][24:]
    source.labels[:] = np.arange(4)
    config.data.bad_rows = policy
    dropped = DroppedRows(source, 1.0, 4)
    dataset = pipeline.make_train_dataset(
        source, np.arange(4), make_preprocessor(), config, dropped=dropped
    )
    x, labels, weights = next(iter(dataset))
    order = np.argsort(labels)
    expected = [0, 1, 0, 1] if policy == "drop" else [1, 1, 1, 1]
    assert weights.numpy()[order].tolist() == expected
    assert x[spec.HAS_IMAGE].numpy()[order].tolist() == [False, True, True, True]
    assert x[spec.HAS_TEXT].numpy()[order].tolist() == [True, True, False, True]
    assert set(dropped.reasons) == {0, 2}
    assert "65536 x 65536" in dropped.reasons[0]
    assert dropped.reasons[2] == (
        "The text is not UTF-8: byte 0xff at position 0. Save it as UTF-8."
    )


def test_reasons():
    assert row_status.explain(spec.OK, b"", "", 1) == ""
    reason = row_status.explain(spec.MISSING_INPUT, b"", "", 1)
    assert "neither an image nor a text" in reason
    reason = row_status.explain(spec.UNDECODABLE_TEXT, b"", "\ud800", 1)
    assert "byte 0xed at position 0" in reason
    reason = row_status.explain(spec.UNREADABLE_IMAGE, "/gone.png", "", 1)
    assert reason == "The file does not exist."
