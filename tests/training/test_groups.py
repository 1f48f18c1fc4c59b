"""Groups by regular expression: coverage, freezing, the table."""

import ml_collections
import numpy as np
import pytest

from tf_multimodal.training import groups
from tf_multimodal.training.model_builder import build_classifier, build_preprocessor


@pytest.fixture
def model(tiny_config, tiny_source):
    preprocessor = build_preprocessor(tiny_config, tiny_source.texts)
    return build_classifier(tiny_config, preprocessor, 6, "float32")


def make_groups(**patterns):
    return ml_collections.ConfigDict(
        {
            name: {"pattern": pattern, "frozen": frozen}
            for name, (pattern, frozen) in patterns.items()
        }
    )


def make_batch():
    rng = np.random.RandomState(0)
    tokens = np.ones((4, 12), "int32")
    return {
        "images": rng.rand(4, 32, 32, 3).astype("float32"),
        "has_image": np.ones(4, bool),
        "token_ids": tokens * 5,
        "padding_mask": tokens,
        "segment_ids": tokens * 0,
        "has_text": np.ones(4, bool),
    }


def test_uncovered_and_doubly_covered_variables_are_listed(model):
    paths = model.get_variable_paths()
    with pytest.raises(ValueError, match="In no group:\n  text_encoder/"):
        groups.assign_groups(
            paths, make_groups(rest=("(image_encoder|joint|head)/.*", False))
        )
    with pytest.raises(ValueError, match=r"head/image_head/bias \(all, head\)"):
        groups.assign_groups(
            paths, make_groups(all=(".*", False), head=("head/.*", False))
        )


def test_a_frozen_encoder_neither_trains_nor_drops_out(model, tiny_config):
    tiny = tiny_config.copy_and_resolve_references().train.groups
    tiny.text_encoder.frozen = True
    tiny.image_encoder.frozen = True
    table = groups.freeze_groups(model, tiny)
    lines = {line.split()[0]: line.split()[3] for line in table.splitlines()[1:]}
    assert lines == {
        "head": "yes",
        "image_encoder": "no",
        "joint": "yes",
        "text_encoder": "no",
    }
    trained = {id(v) for v in model.trainable_variables}
    for path, variable in model.get_variable_paths().items():
        if path.startswith(("text_encoder/", "image_encoder/")):
            assert id(variable) not in trained, path
        if path.startswith("head/"):
            assert id(variable) in trained, path
    before = [np.array(v) for v in model.backbone.image_branch.weights]
    first = model.backbone.text_branch(
        {k: make_batch()[k] for k in ("token_ids", "padding_mask", "segment_ids")},
        training=True,
    )
    model.compile(loss="sparse_categorical_crossentropy", jit_compile=False)
    model.preprocessor = None
    model.train_on_batch(make_batch(), np.zeros(4, "int32"))
    for old, new in zip(before, model.backbone.image_branch.weights, strict=True):
        np.testing.assert_array_equal(old, np.asarray(new))  # BatchNorm's too
    again = model.backbone.text_branch(
        {k: make_batch()[k] for k in ("token_ids", "padding_mask", "segment_ids")},
        training=True,
    )
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))


def test_a_part_of_an_encoder_can_be_frozen(model):
    chosen = make_groups(
        stem=("image_encoder/conv1.*", True),
        rest=("(?!image_encoder/conv1).*", False),
    )
    groups.freeze_groups(model, chosen)
    trained = {id(v) for v in model.trainable_variables}
    paths = model.get_variable_paths()
    stem = [p for p in paths if p.startswith("image_encoder/conv1")]
    assert stem and not any(id(paths[p]) in trained for p in stem)
    assert any(
        id(v) in trained
        for p, v in paths.items()
        if p.startswith("image_encoder/") and p not in stem
    )


def test_freezing_everything_is_refused(model):
    with pytest.raises(ValueError, match="nothing is left to train"):
        groups.freeze_groups(model, make_groups(all=(".*", True)))
