"""A small image-to-text model with random weights, and a manifest to fill."""

import io
import pathlib

import numpy as np

WORDS = "a the red blue cat dog bird tree house sits stands on in near caption en"
HEADER = "id,image,text,note"
ROWS = (
    'a,0.png,"a red, big bird",x',
    "b,1.png,,",
    "c,2.png,   ,猫",
    "d,broken.png,,",
    "e,gone.png,,",
    "f,,,",
    "g,3.png,,",
    "h,4.png,кошка,",
    "i,../out.png,,",
)
SMALL = {
    "num_layers": 1,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "head_dim": 8,
}
FILLED = {"b": 1, "c": 2, "g": 3}  # id -> number of the image


def make_pixels(number: int) -> np.ndarray:
    """Returns uint8 [h, w, 3] whose size and colours differ by number."""
    generator = np.random.RandomState(number)
    return generator.randint(0, 256, (12 + number, 20, 3), np.uint8)


def write_manifest(folder: pathlib.Path) -> pathlib.Path:
    """Writes pairs.csv and its images, some of them bad; returns its path."""
    import tensorflow as tf

    for number in range(5):
        image = tf.io.encode_png(make_pixels(number)).numpy()
        (folder / f"{number}.png").write_bytes(image)
    (folder / "broken.png").write_bytes(image[:60])
    path = folder / "pairs.csv"
    path.write_text("\n".join((HEADER, *ROWS)) + "\n", encoding="utf-8")
    return path


def write_preset(folder: pathlib.Path, kind: str = "pali_gemma") -> pathlib.Path:
    """Saves a model of a few thousand weights as a preset; returns its folder."""
    import keras

    keras.utils.set_random_seed(0)
    model = {"pali_gemma": _make_pali_gemma, "gemma3": _make_gemma3}[kind]()
    generator = np.random.RandomState(1)
    for variable in model.backbone.trainable_variables:  # so that the image counts
        variable.assign(generator.normal(0, 1.0, variable.shape))
    model.save_to_preset(str(folder))
    return folder


def _make_pali_gemma():
    import keras_hub

    tokenizer = keras_hub.models.PaliGemmaTokenizer(proto=_train_vocabulary())
    preprocessor = keras_hub.models.PaliGemmaCausalLMPreprocessor(
        tokenizer=tokenizer,
        image_converter=keras_hub.layers.PaliGemmaImageConverter(
            image_size=(16, 16), scale=1 / 127.5, offset=-1.0
        ),
        sequence_length=24,
    )
    backbone = keras_hub.models.PaliGemmaBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_size=16,
        vit_patch_size=8,
        vit_num_layers=1,
        vit_num_heads=2,
        vit_hidden_dim=16,
        vit_intermediate_dim=32,
        **SMALL,
    )
    return keras_hub.models.PaliGemmaCausalLM(preprocessor, backbone)


def _make_gemma3():
    import keras_hub
    from keras_hub.src.models.gemma3.gemma3_vision_encoder import Gemma3VisionEncoder

    tokenizer = keras_hub.models.Gemma3Tokenizer(
        proto=_train_vocabulary(("<img>", "<start_of_image>", "<end_of_image>"))
    )
    preprocessor = keras_hub.models.Gemma3CausalLMPreprocessor(
        tokenizer=tokenizer,
        image_converter=keras_hub.layers.Gemma3ImageConverter(
            image_size=(16, 16), scale=1 / 127.5, offset=-1.0
        ),
        sequence_length=256,
        max_images_per_prompt=1,
        num_vision_tokens_per_image=4,
    )
    backbone = keras_hub.models.Gemma3Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_size=16,
        vision_encoder=Gemma3VisionEncoder(
            image_size=16,
            patch_size=4,
            pool_size=2,
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            output_dim=SMALL["hidden_dim"],
        ),
        **SMALL,
    )
    return keras_hub.models.Gemma3CausalLM(preprocessor, backbone)


def _train_vocabulary(image_tokens: tuple[str, ...] = ()) -> bytes:
    import sentencepiece

    words = WORDS.split()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS, *words] * 3),
        model_writer=model,
        vocab_size=80 if image_tokens else len(words) + 5,
        user_defined_symbols=list(image_tokens),
        # Whole words cannot be cut where an image's token stands between them.
        model_type="char" if image_tokens else "word",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()
