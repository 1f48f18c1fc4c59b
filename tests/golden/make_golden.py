"""Makes the golden run and SavedModel of this version's formats.

python tests/golden/make_golden.py

Trains a tiny run, exports it and writes `run_N_saved_model_M/`, by the numbers of the
two formats, beside this file: `run/`, `saved_model/`, `requests.jsonl` and
`expected.json`. Made once a format and kept: later versions must load the old ones and
predict the same (tests/serving/test_golden.py). A folder that is there is not replaced
unless `--overwrite` says so, which is right only before the format was released.
"""

import argparse
import base64
import csv
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile
from typing import Any

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent
RUN_FILES = ("experiment.json", "versions.json", "labels.txt", "splits.csv")
RUN_FILES += ("metrics.jsonl", "best")
CLASSES = {"bird": (200, 60, 40), "cat": (40, 160, 60), "sign": (50, 70, 200)}
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a red green blue bird cat sign two the 猫 и"
MAX_BYTES = 2_000_000  # 0.6 MB of it is TF Text's table of characters


def main() -> None:
    """Writes the folder of this version's formats."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overwrite", action="store_true")
    overwrite = parser.parse_args().overwrite
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # as the exporter: no cuDNN in the graph
    from tf_multimodal.data.run_format import RUN_FORMAT
    from tf_multimodal.serving.model_card import FORMAT

    folder = FOLDER / f"run_{RUN_FORMAT}_saved_model_{FORMAT}"
    if folder.exists() and not overwrite:
        sys.exit(f"{folder} is there already. Later versions are held against it.")
    with tempfile.TemporaryDirectory() as work:
        written = pathlib.Path(work, "golden")
        written.mkdir()
        write_run(pathlib.Path(work), written / "run")
        write_saved_model(written)
        write_expected(written)
        files = [path for path in written.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        if size > MAX_BYTES:
            sys.exit(f"{size:,} bytes are too many for a test file.")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(written, folder)
    print(f"{folder}: {size:,} bytes")


def write_run(work: pathlib.Path, folder: pathlib.Path) -> None:
    """Trains and keeps what a finished run is read by."""
    from tf_multimodal.training.run import run

    write_data(work)
    config = make_config()
    os.chdir(work)  # the run's config names its files without a folder
    run(config, "trained")
    folder.mkdir()
    for name in RUN_FILES:
        source = work / "trained" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)


def write_saved_model(folder: pathlib.Path) -> None:
    """Exports the run with all that is written beside a model."""
    from tf_multimodal.serving.release import release_run

    release = release_run(folder / "run", folder / "versions")
    release.folder.rename(folder / "saved_model")
    (folder / "versions").rmdir()


def write_expected(folder: pathlib.Path) -> None:
    """Writes requests, and what the run answers."""
    from tf_multimodal.inference.predictor import Predictor

    rows = make_requests()
    predictor = Predictor.from_run(folder / "run")
    found = predictor.predict([image for image, _ in rows], [text for _, text in rows])
    if np.ptp(found.probabilities, axis=0).min() < 0.1:
        sys.exit("The rows are not told apart: such a run would prove nothing.")
    with (folder / "requests.jsonl").open("w", encoding="utf-8") as file:
        for image, text in rows:
            line = {"image_bytes": encode(image), "text": encode(text)}
            file.write(json.dumps(line) + "\n")
    expected = {
        "classes": predictor.classes,
        "probabilities": found.probabilities.tolist(),
        "statuses": found.status,
    }
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (folder / "expected.json").write_text(text + "\n", encoding="utf-8")


def make_config() -> Any:
    """Returns the settings of the smallest run with an image and a text branch."""
    from tf_multimodal import config as config_lib

    config = config_lib.get_default_config()
    config.dtype_policy = "float32"
    config.data.manifest = "pairs.csv"
    config.data.columns.split = "split"
    config.augment.crop = "none"
    config.model.image.size_px = 16
    config.model.image.resnet.stackwise_num_filters = (64,)
    config.model.image.resnet.stackwise_num_blocks = (1,)
    config.model.image.resnet.stackwise_num_strides = (1,)
    config.model.text.encoder = "lstm"
    config.model.text.vocabulary = "vocab.txt"
    config.model.text.max_tokens = 8
    config.model.text.embedding_dim = 8
    config.model.text.lstm_units = 8
    config.model.text.token_dropout = 0.0
    config.augment.token_drop = 0.0
    config.train.epochs = 40
    config.train.eval_intervals = 0
    config.train.batch_size = 6
    config.train.learning_rate = 1e-2
    config.train.ema = 0.0
    return config


def write_data(folder: pathlib.Path) -> None:
    """Writes a manifest of 24 pairs, their images and a vocabulary."""
    (folder / "vocab.txt").write_text("\n".join(PIECES.split()) + "\n", "utf-8")
    rows = [("image", "text", "label", "split")]
    for number in range(24):
        name = list(CLASSES)[number % 3]
        image = f"{number}.png"
        (folder / image).write_bytes(encode_image(make_pixels(name, number), "PNG"))
        split = "train" if number < 18 else "validation" if number < 21 else "test"
        rows.append((image, f"a {name}", name, split))
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def make_requests() -> list[tuple[bytes, bytes]]:
    """Returns images and texts: formats, orientation, scripts and bad input."""
    bird, cat, sign = (make_pixels(name, 90) for name in CLASSES)
    png = encode_image(bird, "PNG")
    return [
        (png, b"a red bird"),
        (encode_image(cat, "PNG"), b"the CAT"),
        (encode_image(sign, "JPEG"), b"two signs"),
        # Turned by a quarter: the picture's halves differ.
        (encode_image(cat, "JPEG", orientation=6), b""),
        (encode_image(cat, "JPEG", orientation=3), b""),
        (encode_image(sign, "GIF"), b""),
        (encode_image(bird, "BMP"), b""),
        (encode_image(cat, "WEBP"), b""),
        (b"", "猫 и собака, 서울의 고양이".encode()),
        (b"", "Zwölf Äpfel".encode()),
        (b"", b""),
        (b"not an image", b"a green cat"),
        (png[:40], b""),
        (png, b"caf\xe9"),
    ]


def make_pixels(name: str, seed: int) -> np.ndarray:
    """Returns a picture in the class's colour, uint8 [24, 36, 3], light on the left."""
    noise = np.random.RandomState(seed).randint(-30, 30, (6, 9, 3))
    light = np.linspace(60, -60, 9).astype(int)[None, :, None]
    blocks = np.array(CLASSES[name])[None, None] + noise + light
    return blocks.clip(0, 255).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)


def encode_image(pixels: np.ndarray, kind: str, orientation: int = 1) -> bytes:
    """Returns an encoded image; an orientation other than 1 is written as EXIF."""
    from PIL import ExifTags, Image

    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if orientation != 1:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def encode(value: bytes) -> dict[str, str]:
    """Returns bytes as TensorFlow Serving's REST interface writes them."""
    return {"b64": base64.b64encode(value).decode()}


if __name__ == "__main__":
    main()
