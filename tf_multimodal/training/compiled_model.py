"""The model of a run, built, grouped and compiled; every choice is said."""

from typing import Any

import keras
import ml_collections

from tf_multimodal.data.source import Source
from tf_multimodal.models.image_text_classifier import ImageTextClassifier
from tf_multimodal.training import groups, precision
from tf_multimodal.training.distribution.devices import Devices
from tf_multimodal.training.losses import make_loss
from tf_multimodal.training.model_builder import build_classifier
from tf_multimodal.training.optimizer import make_optimizer


def build_compiled_model(
    config: ml_collections.ConfigDict,
    source: Source,
    preprocessor: Any,
    total_steps: int,
    devices: Devices,
    metrics: list[keras.metrics.Metric],
) -> ImageTextClassifier:
    """Returns the model with its optimizer, loss and metrics.

    Args:
        config: the whole configuration.
        source: its classes, and whether a row may have several.
        preprocessor: an `ImageTextClassifierPreprocessor`.
        total_steps: steps of the whole run.
        devices: where it trains; called within their scope.
        metrics: of `make_metrics`, weighted.

    Raises:
        ValueError: a frozen encoder would never learn, or the groups are wrong.
    """
    multi_label = source.label_sets is not None
    dtype, why = precision.choose_dtype_policy(config.dtype_policy)
    print(f"Precision: {dtype} ({why}).")
    model = build_classifier(
        config, preprocessor, len(source.classes), dtype, multi_label
    )
    # Batches come prepared; KerasHub would apply the preprocessor again.
    model.preprocessor = None
    print(groups.freeze_groups(model, config.train.groups))
    _describe_weights(config.model, model)
    devices.prepare_model(model, config)
    jit_compile, why = precision.choose_jit_compile(
        config.jit_compile, model, config.deterministic, devices.num_replicas
    )
    print(f"XLA: {'on' if jit_compile else 'off'} ({why}).")
    model.compile(
        optimizer=make_optimizer(
            config.train,
            total_steps,
            model.trainable_variables,
            scale_loss=dtype == "mixed_float16",
        ),
        loss=devices.wrap_loss(make_loss(config, multi_label), config.train.batch_size),
        weighted_metrics=metrics,
        metrics=None,
        jit_compile=jit_compile,
    )
    return model


def _describe_weights(
    settings: ml_collections.ConfigDict, model: ImageTextClassifier
) -> None:
    """Says where the encoders' weights come from; refuses frozen random ones."""
    presets = {
        "image_encoder": (model.backbone.image_branch, settings.image.preset),
        "text_encoder": (
            model.backbone.text_branch,
            settings.text.preset if settings.text.encoder == "bert" else "",
        ),
    }
    for name, (branch, preset) in presets.items():
        if branch is None:
            continue
        count = len(branch.encoder.weights)
        print(f"Weights: {name}, {count} variables from {preset or 'random'}.")
        if not preset and not branch.trainable:
            raise ValueError(
                f"The {name} starts from random weights and is frozen, so that it "
                f"would never learn. Set config.train.groups.{name}.frozen=False, "
                "or give it a preset."
            )
