"""configs/paper.py at full size, with random weights in the presets' place."""

import dataclasses

import keras_hub
import numpy as np
import pytest

from configs import paper
from tf_multimodal.training import run

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def presets(tmp_path):
    """Folders like `resnet_50_imagenet` and `bert_base_en_uncased`."""
    image, text = str(tmp_path / "resnet_50"), str(tmp_path / "bert_base")
    resnet = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
    )
    resnet.save_to_preset(image)
    keras_hub.layers.ResNetImageConverter(image_size=(224, 224)).save_to_preset(image)
    bert = keras_hub.models.BertBackbone(
        vocabulary_size=30522,
        num_layers=12,
        num_heads=12,
        hidden_dim=768,
        intermediate_dim=3072,
    )
    bert.save_to_preset(text)
    words = [f"word{i}" for i in range(30522 - len(SPECIALS) - 3)]
    vocabulary = [*SPECIALS, "a", "red", "bird", *words]
    keras_hub.tokenizers.BertTokenizer(vocabulary, lowercase=True).save_to_preset(text)
    return image, text


@pytest.mark.slow
def test_trains_some_steps(presets, tiny_source, tmp_path, capsys):
    config = paper.get_config()
    config.model.image.preset, config.model.text.preset = presets
    config.dtype_policy = "mixed_bfloat16"
    config.train.batch_size = 2
    config.train.epochs = 1
    config.train.state_steps = 3
    config.train.eval_intervals = 0
    chosen = np.r_[
        tiny_source.get_indices("train")[:6], tiny_source.get_indices("validation")[:2]
    ]
    names = ["images", "texts", "labels", "weights", "ids", "groups", "splits"]
    columns = {n: getattr(tiny_source, n)[chosen] for n in (*names, "files", "rows")}
    source = dataclasses.replace(tiny_source, **columns, fingerprint="")
    folder = run.run(config, tmp_path / "run", source)
    state = folder / "state" / "step_0000000003"
    with np.load(state / "variables.npz") as stored:
        parameters = sum(
            stored[name].size for name in stored.files if stored[name].ndim
        )
    # ResNet50 and BERT base: 130 million, with AdamW's two slots and the average.
    assert parameters > 4 * 130e6
    assert (folder / "best" / "model.weights.h5").exists()
    assert "Precision: mixed_bfloat16" in capsys.readouterr().out
