"""A smoke test: drawn shapes and short captions, no download.

    python train.py --config=configs/tiny.py

480 synthetic pairs (tf_multimodal/datasets/shapes) of which neither the image nor the
text alone tells the class; some hundred steps of a small model, well under a minute
on two CPU cores.
"""

import ml_collections

from tf_multimodal.config import get_default_config


def get_config() -> ml_collections.ConfigDict:
    config = get_default_config()
    config.data.tfds.name = "shapes"
    config.data.tfds.module = "tf_multimodal.datasets.shapes"
    config.data.columns.id = "id"
    config.data.columns.group = "group"
    config.model.image.size_px = 32
    config.model.image.resnet.stackwise_num_filters = (64,)
    config.model.image.resnet.stackwise_num_blocks = (1,)
    config.model.image.resnet.stackwise_num_strides = (1,)
    config.model.text.vocabulary = "learn"
    config.model.text.vocabulary_size = 500
    config.model.text.max_tokens = 12
    config.model.text.bert.num_layers = 1
    config.model.text.bert.hidden_dim = 32
    config.model.text.bert.intermediate_dim = 64
    config.model.text.lstm_units = 32
    config.train.epochs = 20
    config.train.batch_size = 32
    config.train.eval_intervals = 5
    return config
