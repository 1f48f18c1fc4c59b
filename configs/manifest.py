"""A user's own pairs, from a CSV or TSV file.

    python train.py --config=configs/manifest.py --config.data.manifest=pairs.csv \
        --config.data.columns.image=file --config.data.columns.text=caption \
        --config.data.columns.label=class --workdir=runs/pairs

The encoders of configs/openclipart.py; good without tuning from 500 rows up: the
number of epochs follows the number of rows, class weights balance rare classes, and
the run stops when validation has not improved for ten evaluations.
"""

import ml_collections

from configs import openclipart


def get_config() -> ml_collections.ConfigDict:
    config = openclipart.get_config()
    config.data.tfds.name = ""
    config.data.tfds.module = ""
    config.model.text.max_tokens = 32
    config.train.epochs = 0
    config.train.class_weights = "balanced"
    config.train.patience = 10
    config.train.monitor = "macro_f1"
    return config
