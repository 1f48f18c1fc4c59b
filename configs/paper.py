"""The architecture of Kim & Lee (2023) at full size.

    python train.py --config=configs/paper.py --config.data.manifest=pairs.csv

ResNet50 (ImageNet weights) at 224 px beside BERT base and an LSTM, concatenated,
trained end to end in mixed precision. "A Study on Improvement of Image
Classification Accuracy Using Image-Text Pairs", Journal of IKEEE 27(4), reports about
11 points over the image alone on a part of COYO-700M; classes, split and absolute
figures are not public, so no figure is claimed here. The presets come from a model
hub. Meant for a GPU.
"""

import ml_collections

from tf_multimodal.config import get_default_config


def get_config() -> ml_collections.ConfigDict:
    config = get_default_config()
    config.data.manifest = "pairs.csv"
    config.augment.crop_scale = (0.5, 1.0)
    config.model.fusion = "concat"
    config.model.image_loss = 0.0
    config.model.text_loss = 0.0
    config.model.image.preset = "resnet_50_imagenet"
    config.model.image.size_px = 224
    config.model.image.fit = "crop"
    config.model.text.preset = "bert_base_en_uncased"
    config.model.text.max_tokens = 64
    config.model.text.lstm_units = 256
    config.train.epochs = 10
    config.train.learning_rate = 5e-5
    config.train.weight_decay = 0.01
    return config
