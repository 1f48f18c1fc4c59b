"""What an ablation compares: variants of one config, and the gains it reports."""

import dataclasses

import ml_collections


@dataclasses.dataclass(frozen=True)
class Variant:
    """What one row of the table changes in the config, and what it says of it."""

    name: str
    description: str
    changes: dict[str, str]


PRETRAINED = "pretrained text"
FROM_NOTHING = "text from nothing"
VARIANTS = (
    Variant("image", "image alone", {"modalities": "image"}),
    Variant("text", f"text alone, {PRETRAINED}", {"modalities": "text"}),
    Variant("image_text_late", f"both, late, {PRETRAINED}", {"fusion": "late"}),
    Variant("image_text_concat", f"both, concat, {PRETRAINED}", {"fusion": "concat"}),
    Variant(
        "text_lstm",
        f"text alone, {FROM_NOTHING}",
        {"modalities": "text", "text.encoder": "lstm"},
    ),
    Variant(
        "image_text_lstm",
        f"both, late, {FROM_NOTHING}",
        {"fusion": "late", "text.encoder": "lstm"},
    ),
)
# Differences in the table: (of, over). The first of either kind is the headline.
GAINS = (
    ("image_text_late", "image"),
    ("image_text_concat", "image"),
    ("image_text_lstm", "image"),
    ("image_text_late", "text"),
    ("image_text_concat", "text"),
    ("image_text_lstm", "text_lstm"),
)


def make_variant_config(
    config: ml_collections.ConfigDict, variant: Variant
) -> ml_collections.ConfigDict:
    """Returns the config of one variant: trained to the end, tested on its fold."""
    config = config.copy_and_resolve_references()
    config.model.modalities = "image_text"
    config.update_from_flattened_dict(
        {f"model.{key}": value for key, value in variant.changes.items()}
    )
    if config.model.text.encoder == "lstm" and "text_encoder" in config.train.groups:
        config.train.groups.text_encoder.frozen = False
    config.train.keep = "last"
    config.train.eval_intervals = 0
    config.train.patience = 0
    return config
