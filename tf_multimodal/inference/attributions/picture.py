"""Pictures of explanations: heat maps over images, words with bars."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from tf_multimodal.inference.attributions.explanation import Explanation

_STRENGTH = 0.65  # of the heat map where it is 1


def make_overlay(picture: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """Lays a heat map over its picture; where it is 0 the picture shows through.

    Args:
        picture: uint8 [h, w, 3].
        heat_map: float [h, w], 0 to 1.

    Returns:
        uint8 [h, w, 3].
    """
    colours = matplotlib.colormaps["inferno"](heat_map)[..., :3] * 255
    share = _STRENGTH * np.asarray(heat_map)[..., np.newaxis]
    return np.rint((1 - share) * picture + share * colours).astype(np.uint8)
