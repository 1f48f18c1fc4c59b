"""A run of some twenty seconds over each source; a config file for `train.py`.

    python train.py --config=benchmarks/killed_runs/config.py:csv --workdir=run

It is given in a folder two below the one that holds `data`; see `data.py`.
"""

import ml_collections

from tf_multimodal.config import get_default_config, make_mixture_part

DATA = "../../data"
SOURCES = (
    "csv",
    "jsonl",
    "parquet",
    "folder",
    "webdataset",
    "records",
    "huggingface",
    "tfds",
    "dataset",  # no source in the config: see dataset_run.py
    "mixture",
    "captions",
    "label_sets",
)
SHARDS = f"{DATA}/shards/*.tar"
SHARD_COLUMNS = {"image": "png", "text": "txt", "label": "cls"}


def get_config(source: str) -> ml_collections.ConfigDict:
    """Returns the config of a run that is to be killed.

    Args:
        source: one of `SOURCES`.
    """
    config = get_default_config()
    config.deterministic = True
    config.dtype_policy, config.jit_compile = "float32", "off"
    config.cache_dir = "cache"
    config.model.image.size_px = 16
    config.model.image.resnet.input_conv_filters = (64,)
    config.model.image.resnet.stackwise_num_filters = (64,)
    config.model.image.resnet.stackwise_num_blocks = (1,)
    config.model.image.resnet.stackwise_num_strides = (1,)
    config.model.text.encoder = "lstm"
    config.model.text.vocabulary = "learn"
    config.model.text.vocabulary_size = 200
    config.model.text.max_tokens = 8
    config.model.text.embedding_dim = config.model.text.lstm_units = 16
    config.model.dropout = 0.1
    config.train.batch_size = 8
    config.train.ema = 0.9
    config.train.epochs = 22  # of 84 rows or so: 240 steps
    config.train.state_steps = 40
    config.train.state_minutes = 0.005  # states within an interval, too
    _set_source(config, source)
    return config


def _set_source(config: ml_collections.ConfigDict, source: str) -> None:
    data = config.data
    if source in ("csv", "jsonl"):
        data.manifest = f"{DATA}/pairs.{source}"
    elif source == "parquet":
        data.manifest, data.image_encoding = f"{DATA}/pairs-*.parquet", "bytes"
    elif source == "folder":
        data.folder, data.columns.text = f"{DATA}/folder", "txt"
    elif source == "webdataset":
        data.webdataset = SHARDS
        data.columns.update(SHARD_COLUMNS)
    elif source == "records":
        data.records = f"{DATA}/records"
    elif source == "huggingface":
        data.huggingface = f"{DATA}/huggingface"
    elif source == "tfds":
        data.tfds.name = "shapes"
        data.tfds.module = "tf_multimodal.datasets.shapes"
        config.train.epochs = 6  # of 336 rows
    elif source == "mixture":
        data.mixture.own = make_mixture_part(
            3, columns={"text": "txt"}, folder=f"{DATA}/folder"
        )
        data.mixture.web = make_mixture_part(
            1, columns=SHARD_COLUMNS, webdataset=SHARDS
        )
        config.train.epochs = 11  # of all rows of both
    elif source == "captions":
        data.manifest, data.columns.captions = f"{DATA}/pairs.jsonl", ("captions",)
    elif source == "label_sets":
        data.manifest, data.columns.labels = f"{DATA}/pairs.jsonl", "labels"
        config.train.monitor = "macro_f1"
    elif source != "dataset":
        raise ValueError(f"Expected one of {SOURCES}. Received: {source!r}")
