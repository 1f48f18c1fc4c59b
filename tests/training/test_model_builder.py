"""Each setting of `config.model` reaches the model that is built."""

import pytest

from tf_multimodal.models.embedding_text_backbone import EmbeddingTextBackbone
from tf_multimodal.training.model_builder import build_classifier, build_preprocessor


@pytest.fixture
def build(tiny_config, tiny_source):
    def build(dtype="float32", **changes):
        config = tiny_config.copy_and_resolve_references()
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        config.update_from_flattened_dict(changes)
        preprocessor = build_preprocessor(config, tiny_source.texts)
        return build_classifier(config, preprocessor, 6, dtype)

    return build


def test_settings_of_the_joint_part(build):
    model = build(
        model__fusion="concat",
        model__image_loss=0.25,
        model__text_loss=0.5,
        model__dropout=0.3,
        model__text__lstm_units=24,
        model__text__bidirectional=True,
        model__text__token_dropout=0.2,
    )
    assert (model.image_loss, model.text_loss, model.dropout) == (0.25, 0.5, 0.3)
    backbone = model.backbone
    assert backbone.fusion == "concat" and backbone.token_dropout == 0.2
    assert backbone.output["text_features"].shape == (None, 48)
    assert set(model.heads) == {"image", "text", "joint"}


def test_settings_of_the_image(build):
    model = build(model__image__size_px=64, model__image__space_to_depth=4)
    assert model.preprocessor.image_size_px == 64
    assert not model.preprocessor.image_converter.crop_to_aspect_ratio
    assert model.backbone.image_branch.encoder.input_shape == (None, 16, 16, 48)
    model = build(model__image__fit="crop")
    assert model.preprocessor.image_converter.crop_to_aspect_ratio
    with pytest.raises(ValueError, match="multiple of .*space_to_depth=3"):
        build(model__image__space_to_depth=3)


def test_settings_of_the_text(build):
    model = build(
        model__text__encoder="lstm",
        model__text__embedding_dim=20,
        model__text__max_tokens=9,
        data__max_image_px=4321,
    )
    encoder = model.backbone.text_branch.encoder
    assert isinstance(encoder, EmbeddingTextBackbone) and encoder.embedding_dim == 20
    assert model.preprocessor.sequence_length == 9
    assert model.preprocessor.max_image_px == 4321
    assert encoder.vocabulary_size == model.preprocessor.tokenizer.vocabulary_size()
    with pytest.raises(ValueError, match="no vocabulary"):
        build(model__text__vocabulary="")


@pytest.mark.parametrize("modalities", ["image", "text"])
def test_one_modality_has_one_branch_and_no_branch_loss(build, modalities):
    model = build(model__modalities=modalities)
    assert model.backbone.modalities == model.preprocessor.modalities == modalities
    assert (model.image_loss, model.text_loss) == (0.0, 0.0)
    assert set(model.heads) == {"joint"}


def test_precision_reaches_every_part(build):
    model = build(dtype="mixed_bfloat16")
    lstm = model.backbone.joint.get_layer("lstm")
    for part in (
        model.backbone.image_branch.encoder,
        model.backbone.text_branch.encoder,
        lstm,
    ):
        assert part.dtype_policy.name == "mixed_bfloat16"
    assert model.heads["image"].compute_dtype == "float32"
