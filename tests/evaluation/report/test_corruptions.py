"""Corrupted images are what they are said to be, and the harder the farther off."""

import numpy as np
import pytest

from tf_multimodal.evaluation.report import corruptions


@pytest.fixture
def pixels():
    """A smooth picture with an edge, uint8 [112, 168, 3]."""
    rows, columns = np.mgrid[0:112, 0:168]
    channels = [rows + 60, columns / 2 + 40, np.where(rows > columns, 200, 90)]
    return np.stack(channels, axis=2).astype(np.uint8)


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_stronger_levels_are_farther_from_the_image(pixels, name):
    original, distances = pixels.copy(), []
    for level in corruptions.CORRUPTIONS[name]:
        found = level.apply(pixels, np.random.default_rng(0))
        again = level.apply(pixels, np.random.default_rng(0))
        assert found.dtype == np.uint8 and found.shape == pixels.shape
        assert np.array_equal(found, again)
        distances.append(np.abs(found.astype(float) - pixels).mean())
    assert np.array_equal(pixels, original)
    assert 0.05 < distances[0] < distances[1] < distances[2]
    assert len({level.setting for level in corruptions.CORRUPTIONS[name]}) == 3


def test_a_blur_grows_with_the_image(random):
    widths = []
    for side in (112, 448):
        edge = np.zeros((side, side, 3), np.uint8)
        edge[:, side // 2 :] = 255
        row = corruptions.blur(edge, 6, random)[side // 2, :, 0]
        widths.append(((row > 40) & (row < 215)).sum())  # within one sigma
    # Between 16 % and 84 % of a blurred edge lie two sigmas: 6 and 24 pixels here.
    assert widths[0] == pytest.approx(6, abs=1)
    assert widths[1] == pytest.approx(24, abs=1)


def test_noise_has_the_deviation_that_it_says(random):
    grey = np.full((64, 64, 3), 128, np.uint8)
    found = corruptions.add_noise(grey, 0.1, random).astype(float)
    assert found.std() == pytest.approx(25.5, rel=0.05)
    assert found.mean() == pytest.approx(128, abs=1)


def test_occlusion_covers_its_share_anywhere():
    white = np.full((40, 60, 3), 255, np.uint8)
    places = []
    for seed in range(60):
        found = corruptions.occlude(white, 0.25, np.random.default_rng(seed))
        covered = (found == 128).all(axis=2)
        assert covered.sum() == 20 * 30
        places.append(np.argwhere(covered)[0])
    assert np.min(places, axis=0).tolist() == [0, 0]
    assert (np.max(places, axis=0) >= [19, 27]).all()


def test_brightness_keeps_the_hue(random):
    red = np.full((2, 2, 3), (100, 50, 0), np.uint8)
    assert corruptions.brighten(red, 0.2, random)[0, 0].tolist() == [151, 76, 0]
    black = np.zeros((2, 2, 3), np.uint8)
    assert corruptions.brighten(black, 0.2, random)[0, 0].tolist() == [51, 51, 51]


def test_contrast_keeps_the_mean(pixels, random):
    found = corruptions.flatten_contrast(pixels, 0.2, random)
    assert found.mean() == pytest.approx(pixels.mean(), abs=0.5)
    assert found.std(axis=(0, 1)) == pytest.approx(
        0.2 * pixels.std(axis=(0, 1)), rel=0.05
    )


def test_jpeg_is_that_of_its_quality(pixels, random):
    distances = [
        np.abs(corruptions.compress(pixels, quality, random) - pixels.astype(float))
        for quality in (95, 7)
    ]
    assert distances[0].mean() < 2 < 4 < distances[1].mean()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 90, 3), (3, 2, 3)])
@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_tiny_images_are_corrupted_too(shape, name, random):
    for level in corruptions.CORRUPTIONS[name]:
        assert level.apply(np.full(shape, 7, np.uint8), random).shape == shape


def test_a_blur_leaves_the_channels_apart(random):
    red = np.zeros((224, 224, 3), np.uint8)
    red[..., 0] = 200
    assert np.array_equal(corruptions.blur(red, 3, random), red)
