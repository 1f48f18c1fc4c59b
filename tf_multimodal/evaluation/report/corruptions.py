"""Damage to images: functions of pixels, uint8 [h, w, 3], a strength and draws.

They return new pixels of the same shape.

Kinds and strengths: Hendrycks and Dietterich 2019, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations, arXiv:1903.12261, severities 1, 3
and 5 of their code for ImageNet, whose images are 224 pixels wide: `sigma_px` is of
such an image and grows with the shorter side of others. Occlusion: DeVries and Taylor
2017, Improved Regularization of CNNs with Cutout, arXiv:1708.04552.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import PIL.Image
from scipy import ndimage

REFERENCE_PX = 224  # shorter side of the images that the strengths are made for


def blur(pixels: np.ndarray, sigma_px: float, _: np.random.Generator) -> np.ndarray:
    """Returns the image behind a Gaussian blur."""
    sigma = sigma_px * min(pixels.shape[:2]) / REFERENCE_PX
    return _to_uint8(
        ndimage.gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0))
    )


def add_noise(
    pixels: np.ndarray, sigma: float, random: np.random.Generator
) -> np.ndarray:
    """Returns the image with Gaussian noise of a deviation `sigma` of the range 0 to 1.

    The noise is of each pixel: resize the image before, not after.
    """
    noise = random.normal(0, 255 * sigma, pixels.shape)
    return _to_uint8(pixels + noise)


def compress(pixels: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    """Returns the image after JPEG of this quality, 1 to 100."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=round(quality))
    return np.array(PIL.Image.open(buffer))


def occlude(
    pixels: np.ndarray, share: float, random: np.random.Generator
) -> np.ndarray:
    """Returns the image with a grey rectangle over this share of its area.

    It has the image's shape and lies anywhere inside of it.
    """
    sides = np.round(np.array(pixels.shape[:2]) * share**0.5).astype(int)
    top, left = random.integers(0, np.array(pixels.shape[:2]) - sides + 1)
    result = pixels.copy()
    result[top : top + sides[0], left : left + sides[1]] = 128
    return result


def brighten(pixels: np.ndarray, shift: float, _: np.random.Generator) -> np.ndarray:
    """Returns the image with its value (of HSV) raised by a share of the range."""
    value = pixels.max(axis=2, keepdims=True).astype(np.float32)
    raised = np.minimum(value + 255 * shift, 255)
    # Hue and saturation stay where all channels grow by one factor; black becomes grey.
    scaled = pixels * (raised / np.maximum(value, 1))
    return _to_uint8(np.where(value > 0, scaled, raised))


def flatten_contrast(
    pixels: np.ndarray, factor: float, _: np.random.Generator
) -> np.ndarray:
    """Returns the image with distances to its mean colour times `factor`."""
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return _to_uint8(mean + (pixels - mean) * factor)


class Level(NamedTuple):
    """A corruption at one strength."""

    setting: str  # for the reader
    corrupt: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    strength: float

    def apply(self, pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Returns the corrupted pixels, uint8 [h, w, 3]."""
        return self.corrupt(pixels, self.strength, random)


CORRUPTIONS: dict[str, tuple[Level, ...]] = {
    "Gaussian blur": tuple(Level(f"sigma {x} px", blur, x) for x in (1, 3, 6)),
    "Gaussian noise": tuple(
        Level(f"sigma {x:g}", add_noise, x) for x in (0.08, 0.18, 0.38)
    ),
    "JPEG": tuple(Level(f"quality {x}", compress, x) for x in (25, 15, 7)),
    "occlusion": tuple(
        Level(f"{x:.0%} of the area", occlude, x) for x in (0.1, 0.25, 0.5)
    ),
    "brightness": tuple(Level(f"{x:+.0%}", brighten, x) for x in (0.1, 0.3, 0.5)),
    "contrast": tuple(
        Level(f"{x:.0%} left", flatten_contrast, x) for x in (0.4, 0.2, 0.05)
    ),
}


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels).clip(0, 255).astype(np.uint8)
