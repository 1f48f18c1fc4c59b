import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.config import get_default_config
from tf_multimodal.data import augment, spec


def make_settings(**changes):
    settings = get_default_config().augment
    for key, value in changes.items():
        settings[key] = value
    return settings


PLAIN = {"flip": False, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
IMAGE = np.random.RandomState(0).randint(0, 256, (40, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("crop", ["none", "pad", "resized"])
def test_equal_seeds_give_equal_images_eagerly_and_inside_a_dataset(crop):
    settings = make_settings(crop=crop)

    def change(seed):
        return augment.augment_image(IMAGE, seed, 16, settings)

    seeds = tf.constant([[0, 1], [0, 2], [1, 1], [0, 1]], tf.int64)
    eager = np.stack([change(seed) for seed in seeds])
    mapped = list(tf.data.Dataset.from_tensor_slices(seeds).map(change))
    np.testing.assert_allclose(eager, np.stack(mapped), atol=1e-3)  # other rounding
    np.testing.assert_array_equal(eager[0], eager[3])
    assert np.abs(eager[0] - eager[1]).max() > 1
    assert np.abs(eager[0] - eager[2]).max() > 1
    assert eager.shape == (4, 16, 16, 3) and eager.dtype == np.float32
    assert eager.min() >= 0 and eager.max() <= 255


def test_without_random_changes_it_is_an_area_resize():
    settings = make_settings(crop="none", **PLAIN)
    small = augment.augment_image(IMAGE, [0, 0], 8, settings)
    expected = tf.image.resize(IMAGE, (8, 8), method="area")
    assert np.abs(small - expected).mean() < 10  # of a standard deviation of 74
    same = augment.augment_image(IMAGE[:32], [0, 0], 32, settings)
    np.testing.assert_allclose(same, IMAGE[:32], atol=0.01)


def test_a_fine_pattern_becomes_grey_and_not_moire():
    board = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    image = np.repeat(board[..., None], 3, -1)
    settings = make_settings(crop="resized", **PLAIN)
    small = augment.augment_image(image, [0, 3], 64, settings).numpy()
    assert 2 * small[8:56, 8:56].std() < board.std() / 4


def test_an_enlarged_image_has_no_white_edge():
    settings = make_settings(crop="none", **PLAIN)
    black = np.zeros((4, 5, 3), np.uint8)
    assert np.max(augment.augment_image(black, [0, 0], 16, settings)) == 0


def draw(*shape, seed=1):
    return tf.random.stateless_uniform(shape, [0, seed])


@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_white_appears_outside_of_the_image_only(crop):
    settings = make_settings(crop=crop, crop_scale=(1.3, 1.3), **PLAIN)
    black = np.zeros((64, 64, 3), np.uint8)
    images = [augment.augment_image(black, [0, i], 16, settings) for i in range(8)]
    white = np.mean(np.stack(images) > 200, (1, 2, 3))
    expected = 1 - 1 / 1.3**2 if crop == "resized" else 0.12
    assert white.mean() == pytest.approx(expected, abs=0.1)
    zoomed = make_settings(crop="resized", crop_scale=(0.5, 0.9), **PLAIN)
    assert np.max(augment.augment_image(black, [0, 1], 16, zoomed)) == 0


def test_flip_mirrors_one_image_in_two():
    settings = make_settings(crop="none", **(PLAIN | {"flip": True}))
    plain = make_settings(crop="none", **PLAIN)
    straight = augment.augment_image(IMAGE, [0, 0], 16, plain).numpy()
    mirrored = []
    for number in range(40):
        image = augment.augment_image(IMAGE, [0, number], 16, settings).numpy()
        is_mirrored = np.allclose(image, straight[:, ::-1], atol=0.01)
        assert is_mirrored or np.allclose(image, straight, atol=0.01)
        mirrored.append(is_mirrored)
    assert 10 <= sum(mirrored) <= 30


@pytest.mark.parametrize("key", ["brightness", "contrast", "saturation"])
def test_each_colour_change_by_itself(key):
    settings = make_settings(crop="none", **(PLAIN | {key: 0.3}))
    plain = augment.augment_image(
        IMAGE, [0, 0], 16, make_settings(crop="none", **PLAIN)
    )
    plain = plain.numpy().astype(np.float64)
    changed = augment.augment_image(IMAGE, [0, 5], 16, settings).numpy()
    inside = np.all((changed > 0) & (changed < 255), -1)
    difference = (changed - plain)[inside]
    assert np.abs(difference).max() > 1
    if key == "brightness":
        assert difference.std() < 0.01 and np.abs(difference).max() <= 0.3 * 255
    if key == "contrast":
        slope = np.polyfit(plain[inside].ravel(), changed[inside].ravel(), 1)[0]
        assert 0.7 <= slope <= 1.3
    if key == "saturation":
        grey = difference @ augment.GREY_WEIGHTS
        np.testing.assert_allclose(grey, 0, atol=0.1)


def test_fit_chooses_the_side_of_the_square():
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 10:30] = 128
    settings = make_settings(crop="none", **PLAIN)
    cropped = augment.augment_image(image, [0, 0], 20, settings, "crop")
    np.testing.assert_allclose(cropped, 128, atol=0.01)
    padded = augment.augment_image(image, [0, 0], 20, settings, "pad").numpy()
    assert np.all(padded[:4] == 255) and np.all(padded[-4:] == 255)
    assert np.all(padded[8:12, :4] == 0)


def make_tokens(lengths, size):
    token_ids = np.zeros((len(lengths), size), np.int32)
    for row, length in enumerate(lengths):
        token_ids[row, :length] = [2, *range(10, 8 + length), 3]
    mask = (token_ids > 0).astype(np.int32)
    return {
        spec.TOKEN_IDS: tf.constant(token_ids),
        spec.PADDING_MASK: tf.constant(mask),
        spec.SEGMENT_IDS: tf.zeros_like(mask),
    }


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_token_drop_keeps_the_order_the_ends_and_one_piece(probability):
    tokens = make_tokens([2, 3, 8, 12], 12)
    dropped = augment.drop_tokens(tokens, draw(4, 12), probability)
    rows = dropped[spec.TOKEN_IDS].numpy()
    mask = dropped[spec.PADDING_MASK].numpy()
    np.testing.assert_array_equal(mask, rows > 0)
    assert rows.shape == (4, 12) and not np.any(dropped[spec.SEGMENT_IDS])
    np.testing.assert_array_equal(rows[:2], tokens[spec.TOKEN_IDS][:2])
    for row in rows:
        used = row[row > 0]
        assert used[0] == 2 and used[-1] == 3
        assert not row[len(used) :].any()  # padding stays on the right
        assert np.all(np.diff(used[1:-1]) > 0)
    if probability == 1.0:
        assert [int(np.sum(row > 0)) for row in rows] == [2, 3, 3, 3]
    again = augment.drop_tokens(tokens, draw(4, 12), probability)[spec.TOKEN_IDS]
    np.testing.assert_array_equal(again, rows)


def test_token_drop_drops_the_share_that_is_asked_for():
    tokens = make_tokens([102] * 20, 102)
    shape = (20, 102)
    kept = augment.drop_tokens(tokens, draw(*shape), 0.2)[spec.PADDING_MASK].numpy()
    assert (kept.sum() - 40) / 2000 == pytest.approx(0.8, abs=0.04)
    other = augment.drop_tokens(tokens, draw(*shape, seed=2), 0.2)[
        spec.PADDING_MASK
    ].numpy()
    assert np.any(kept != other)


def test_modalities_are_never_dropped_both_nor_from_rows_that_lack_one():
    n = 4000
    has_image = tf.constant([True, True, False, False] * (n // 4))
    has_text = tf.constant([True, False, True, False] * (n // 4))
    random = draw(n)
    image, text = augment.drop_modalities(has_image, has_text, random, 0.3, 0.2)
    image, text = image.numpy(), text.numpy()
    assert not np.any(image & text)
    both = (has_image & has_text).numpy()
    assert not np.any(image[~both]) and not np.any(text[~both])
    assert image[both].mean() == pytest.approx(0.3, abs=0.05)
    assert text[both].mean() == pytest.approx(0.2, abs=0.05)
    with pytest.raises(ValueError, match="sum must not exceed 1"):
        augment.drop_modalities(has_image, has_text, random, 0.6, 0.5)
