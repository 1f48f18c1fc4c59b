"""COYO-700M, the paper's data: pairs chosen and fetched by a command of ours.

    python -m tf_multimodal.datasets.coyo all --recipe=configs/coyo.yaml \
        --metadata='coyo-700m/data/*.parquet' --output=data/coyo
    python train.py --config=configs/coyo.py --workdir=runs/coyo

The model of configs/paper.py on shards of img2dataset; docs/coyo.md has every step.
COYO-700M has no class labels: the recipe's keywords make them from the text, or
COYO-Labeled-300M brings those that a model made from the pixels. Neither is what the
paper used, as far as is public, so no figure is claimed. Meant for a GPU.
"""

import ml_collections

from configs import paper


def get_config() -> ml_collections.ConfigDict:
    config = paper.get_config()
    config.data.manifest = ""
    config.data.webdataset = "data/coyo/images/*.tar"
    config.data.columns.image = "jpg"
    config.data.columns.text = "json.masked_text"  # "txt": with the keywords
    config.data.columns.label = "json.label"
    config.data.columns.split = "json.split"
    config.data.columns.id = "json.id"
    config.data.columns.group = "json.image_phash"
    return config
