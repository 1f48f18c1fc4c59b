"""A user's own pairs, from a table or any other source (docs/data.md).

    python train.py --config=configs/manifest.py --config.data.manifest=pairs.csv \
        --config.data.columns.image=file --config.data.columns.text=caption \
        --config.data.columns.label=class --workdir=runs/pairs

The encoders of configs/openclipart.py; meant for 500 rows and more: the
number of epochs follows the number of rows and class weights balance rare classes. A
few hundred images teach a network from random weights little that is true of others:
dropout is high, two images in five are hidden so that the text is learned well, and
the joint head, not a sum, says how far to trust the image. The weights are the average
at the end of the schedule: some dozens of validation rows choose no better.
"""

import ml_collections

from configs import openclipart


def get_config() -> ml_collections.ConfigDict:
    config = openclipart.get_config()
    config.data.tfds.name = ""
    config.data.tfds.module = ""
    config.data.columns.id = ""
    config.data.columns.group = ""
    config.model.text.max_tokens = 32
    config.model.fusion = "concat"
    config.model.dropout = 0.5
    config.model.text.token_dropout = 0.5
    config.augment.drop_image = 0.4
    config.train.epochs = 0
    config.train.class_weights = "balanced"
    config.train.keep = "last"
    config.train.monitor = "macro_f1"
    return config
