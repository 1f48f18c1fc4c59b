"""Grad-CAM: it finds what a model looks at, and follows the model's weights."""

import attribution_samples as samples
import numpy as np
import pytest

from tf_multimodal.data import spec
from tf_multimodal.inference.attributions.cut_model import CutModel, cut_model
from tf_multimodal.inference.attributions.explanation import explain_rows
from tf_multimodal.inference.attributions.grad_cam import compute_heat_maps
from tf_multimodal.inference.predictor import make_source


@pytest.mark.parametrize("fusion", ["late", "concat"])
def test_cut_model_gives_the_logits_of_the_whole(fusion):
    predictor = samples.share_predictor("image_text", fusion, "embedding")
    inputs = samples.read_batch(predictor, samples.make_rows())
    cut = CutModel(predictor.model)
    states = cut.encode(inputs)
    np.testing.assert_allclose(
        cut.compute_logits(states, inputs),
        predictor.model(inputs, training=False),
        atol=1e-5,
    )
    assert cut.make_maps(inputs).shape[1:3] == (4, 4)  # the last ones have 2 x 2


def test_folded_pixels_give_the_logits_of_the_whole(small_run):
    from tf_multimodal.inference.predictor import Predictor

    predictor = Predictor.from_run(small_run)
    assert predictor.model.backbone.space_to_depth > 1
    inputs = samples.read_batch(predictor, samples.make_rows())
    cut = CutModel(predictor.model)
    np.testing.assert_allclose(
        cut.compute_logits(cut.encode(inputs), inputs),
        predictor.model(inputs, training=False),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("corner", "fusion"),
    [
        ((0, 1), "late"),
        ((1, 0), "concat"),
        pytest.param((1, 0), "late", marks=pytest.mark.slow),
        pytest.param((0, 0), "late", marks=pytest.mark.slow),
        pytest.param((0, 0), "concat", marks=pytest.mark.slow),
        pytest.param((0, 1), "concat", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_looks_at_a_corner_is_found_out(corner, fusion):
    encoder = samples.CornerEncoder(corner)
    predictor = samples.make_predictor(
        fusion=fusion, encoder="embedding", image_encoder=encoder
    )
    head = next(iter(predictor.model.heads.values()))  # the image's, or the only one
    kernel = np.array(head.kernel)
    kernel[:3] = [1, 0, 0]  # what is bright is a bird
    head.kernel.assign(kernel)
    white = samples.encode_png(np.full((40, 40, 3), 255))
    source = make_source([white], ["a bird"], samples.CLASSES)
    (explanation,) = explain_rows(predictor, source, [0], [0])
    half = samples.SIDE_PX // 2
    quarters = explanation.heat_map.reshape(2, half, 2, half).mean(axis=(1, 3))
    assert quarters.sum() > 0.2
    assert quarters[corner] > 0.8 * quarters.sum()


def test_what_speaks_against_a_class_is_cut_off():
    encoder = samples.CornerEncoder((0, 0))
    predictor = samples.make_predictor("image", image_encoder=encoder)
    predictor.model.heads["joint"].kernel.assign(2 * np.eye(3) - 1)
    red = np.zeros((40, 40, 3))
    red[..., 0] = 255  # scaled: 1, -1, -1
    source = make_source([samples.encode_png(red)] * 2, [None] * 2, samples.CLASSES)
    bird, cat = explain_rows(predictor, source, [0, 1], [0, 1])
    assert bird.heat_map.max() == 1 and bird.target == 0
    assert not cat.heat_map.any() and np.isfinite(cat.heat_map).all()


ROWS = 12
PARTS = ("head/", "image_encoder/", "")  # and all


@pytest.fixture(scope="module")
def planted():
    """A model that looks for three patches."""
    predictor = samples.make_predictor("image", image_encoder=samples.PatchEncoder())
    samples.plant_patches(predictor)
    return predictor


def draw_patch_maps(predictor) -> np.ndarray:
    """Returns the maps float32 [12, s, s] for the classes whose patch is there."""
    images, target, _ = samples.make_patch_images(ROWS)
    inputs = predictor.preprocessor({spec.IMAGES: images})
    cut = cut_model(predictor.model)
    states = cut.encode(inputs)
    return compute_heat_maps(cut, inputs, states, target).numpy()


def check_maps_mean_something(predictor) -> None:
    """They are hottest at the patch, and the same again."""
    maps = draw_patch_maps(predictor)
    hottest = [np.unravel_index(heat.argmax(), heat.shape) for heat in maps]
    cells = samples.make_patch_images(ROWS)[2]
    np.testing.assert_array_equal(np.array(hottest) // 4, cells)
    again = map(samples.correlate_ranks, maps, draw_patch_maps(predictor))
    assert min(again) == pytest.approx(1)


def correlate_maps(predictor, pattern, draws) -> float:
    return samples.correlate_after_draws(
        predictor, lambda: draw_patch_maps(predictor), pattern, range(10, 10 + draws)
    )


def test_maps_show_the_patch(planted):
    check_maps_mean_something(planted)


@pytest.mark.parametrize("pattern", PARTS)
def test_maps_follow_the_weights(planted, pattern):
    """Adebayo et al. 2018, Sanity Checks for Saliency Maps, arXiv:1810.03292."""
    assert correlate_maps(planted, pattern, draws=20) < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PARTS)
def test_maps_follow_the_weights_of_many_draws(planted, pattern):
    assert correlate_maps(planted, pattern, draws=60) < 0.25


def test_maps_fit_the_picture_and_rows_do_not_mix():
    shared = ("image_text", "late", "embedding")
    together = samples.explain_samples(*shared)
    for i, pixels in enumerate(samples.make_pixels()):
        heat_map = together[i].heat_map
        assert heat_map.dtype == np.float32
        assert heat_map.shape == (samples.SIDE_PX, samples.SIDE_PX)
        assert heat_map.min() >= 0 and heat_map.max() in (0, pytest.approx(1))
        np.testing.assert_array_equal(together[i].picture, pixels)
    predictor, source = samples.share_predictor(*shared), samples.make_rows()
    (alone,) = explain_rows(predictor, source, [3], samples.TARGET[3:4])
    np.testing.assert_allclose(alone.heat_map, together[3].heat_map, atol=1e-4)


def test_a_row_without_a_usable_image_has_no_map():
    found = samples.explain_missing()
    missing, bad = found["text alone"], found["bad image"]
    assert missing.heat_map is missing.picture is bad.heat_map is None
    assert missing.status == spec.OK and not missing.reason
    assert bad.status == spec.UNDECODABLE_IMAGE and bad.reason


@pytest.mark.slow
def test_a_preset_in_bfloat16_is_explained_in_float32(tmp_path):
    from tf_multimodal.models.image_text_classifier import ImageTextClassifier

    half = samples.make_predictor(dtype="bfloat16", encoder="embedding")
    half.model.save_to_preset(str(tmp_path))
    model = ImageTextClassifier.from_preset(str(tmp_path), dtype="float32")
    (explanation,) = explain_rows(samples.wrap(model), samples.make_rows(), [1])
    assert explanation.heat_map.any() and explanation.completeness_gap <= 0.01
