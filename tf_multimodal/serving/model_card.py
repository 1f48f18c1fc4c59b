"""The model card: what a SavedModel is, was made from, and is good for.

Its facts come from the files of the run and of the SavedModel. What those do not
say is null in the JSON and "not recorded" in the Markdown. After Mitchell et al.
(2019), "Model Cards for Model Reporting", arXiv:1810.03993.

Keys of `model_card.json`, format 1:
    format: 1; raised when a key changes its meaning or goes.
    name: of the run, as it may stand in a server's configuration.
    classes: names; column i of `probabilities` is classes[i].
    modalities: image | text | image_text.
    activation: softmax, one class a row; or sigmoid, any number of classes a row, those
        with a probability from 0.5 on. A card without the key: softmax.
    temperature: that the run's logits were divided by, fitted on its validation split
        (its calibration.json); it is in the weights. A card without the key: 1, the
        probabilities are as trained.
    image_size_px, max_image_px: side of the network's square input, and the limit
        on width times height of an image sent; null without an image branch.
    max_tokens: of a text; null without a text branch.
    precision: float32 | bfloat16, of the SavedModel.
    parameters: number of the network's weights.
    signatures: by name, `inputs` and `outputs`: dtype and shape (null: any) by key.
    allowed_batch_sizes: those of the warm-up requests.
    data: `name`; `fingerprint`, SHA-256 of the run's splits.csv; `rows` by split.
    metrics: `split`, `source` (file in the run), `examples` and `values` by name;
        of a test evaluation also `accuracy_interval` (95 %), `image_only`,
        `text_only` and `per_class`; `temperature`, that of the probabilities measured.
        Null: the run was not evaluated.
    training: `seed`, `batch_size`, `dtype_policy` of the run's config, and `epochs`,
        the passes over the data that were made (null: not recorded).
    weights: by branch, `start` (what training began with: random, or a preset's name)
        and `licence` (null: not recorded).
    versions: `training` (the run's versions.json) and `export`, by package.
    intended_use: a text.
    limits: texts.
"""

import hashlib
import json
import pathlib
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import tensorflow as tf

from tf_multimodal.data import spec
from tf_multimodal.data.splits_file import read_splits
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import read_run
from tf_multimodal.serving.card_markdown import make_markdown
from tf_multimodal.serving.model_file import read_signatures
from tf_multimodal.serving.versions import EXTRA_DIR, clean_name
from tf_multimodal.serving.warmup import ALLOWED_BATCH_SIZES

FORMAT = 1
CARD_FILE = "model_card.json"
MARKDOWN_FILE = "model_card.md"
PACKAGES = ("tf_multimodal", "tensorflow", "tensorflow-text", "keras", "keras-hub")
# What a run alone can say; `--intended_use` says more.
INTENDED_USE = (
    "Sorting inputs into the classes above, where pictures and texts are like those "
    "of the data below. Whoever exported the model stated no other use."
)
VALUES = (
    "accuracy",
    "top3_accuracy",
    "micro_f1",
    "macro_f1",
    "mean_average_precision",
    "ece",
    "loss",
)


def write_model_card(
    folder: pathlib.Path,
    predictor: Predictor,
    *,
    precision: str,
    intended_use: str | None = None,
) -> dict[str, Any]:
    """Writes `assets.extra/model_card.json` and `model_card.md` into a SavedModel.

    Args:
        folder: the SavedModel; its signatures are read from it.
        predictor: the run that it was made from.
        precision: of the SavedModel, float32 or bfloat16.
        intended_use: what the model is for, in the words of who exports it; None:
            `INTENDED_USE`.

    Returns:
        The card, as it stands in the JSON file.
    """
    card = make_model_card(folder, predictor, precision, intended_use)
    extra = folder / EXTRA_DIR
    extra.mkdir(exist_ok=True)
    content = json.dumps(card, indent=2, ensure_ascii=False)
    (extra / CARD_FILE).write_text(content + "\n", encoding="utf-8")
    (extra / MARKDOWN_FILE).write_text(make_markdown(card), encoding="utf-8")
    return card


def read_model_card(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the card beside a SavedModel.

    Raises:
        ValueError: there is none, or a newer version of the project wrote it.
    """
    path = folder / EXTRA_DIR / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        number = int(card["format"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Expected the model card that "
            "`python -m export` writes; export the run again."
        ) from error
    if number > FORMAT:
        raise ValueError(
            f"{path} has format {number}; this version of the project reads up to "
            f"{FORMAT}. Update the project."
        )
    return card


def make_model_card(
    folder: pathlib.Path,
    predictor: Predictor,
    precision: str,
    intended_use: str | None,
) -> dict[str, Any]:
    """Returns the card of a SavedModel; see the module for its keys."""
    run_dir, config = predictor.run_dir, predictor.config
    preprocessor = predictor.preprocessor
    has_image = preprocessor.modalities != "text"
    has_text = preprocessor.modalities != "image"
    versions = _read_json(run_dir / "versions.json")
    return {
        "format": FORMAT,
        "name": clean_name(run_dir.resolve().name),
        "classes": list(predictor.classes),
        "modalities": preprocessor.modalities,
        "activation": predictor.model.activation,
        "temperature": predictor.temperature,
        "image_size_px": preprocessor.image_size_px if has_image else None,
        "max_image_px": preprocessor.max_image_px if has_image else None,
        "max_tokens": preprocessor.sequence_length if has_text else None,
        "precision": precision,
        "parameters": predictor.model.count_params(),
        "signatures": _describe_signatures(folder),
        "allowed_batch_sizes": list(ALLOWED_BATCH_SIZES),
        "data": _describe_data(predictor, versions.get("data")),
        "metrics": _read_evaluation(run_dir) or _read_validation(predictor),
        "training": {
            "seed": config.seed,
            "epochs": _read_epochs(run_dir),
            "batch_size": config.train.batch_size,
            "dtype_policy": config.dtype_policy,
        },
        "weights": _describe_weights(predictor),
        "versions": {
            "training": versions,
            "export": {name: _read_version(name) for name in PACKAGES},
        },
        "intended_use": intended_use or INTENDED_USE,
        "limits": _list_limits(predictor),
    }


def _describe_signatures(folder: pathlib.Path) -> dict[str, Any]:
    def describe(tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: {
                "dtype": tf.as_dtype(info.dtype).name,
                "shape": tf.TensorShape(info.tensor_shape).as_list(),
            }
            for key, info in sorted(tensors.items())
        }

    return {
        name: {
            "inputs": describe(signature.inputs),
            "outputs": describe(signature.outputs),
        }
        for name, signature in read_signatures(folder).items()
    }


def _describe_data(predictor: Predictor, name: str | None) -> dict[str, Any]:
    config = predictor.config.data
    path = read_run(predictor.run_dir).splits_path
    card = {"name": name or pathlib.Path(config.manifest).name or config.tfds.name}
    if not path.is_file():
        return {**card, "fingerprint": None, "rows": None}
    counts = Counter(row.split for row in read_splits(path).values())
    return {
        **card,
        "fingerprint": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": {split: counts[split] for split in spec.SPLITS},
    }


def _read_evaluation(run_dir: pathlib.Path) -> dict[str, Any] | None:
    """Returns the metrics on the test split, if the run was evaluated on it."""
    source = "evaluation/test.json"
    result = _read_json(run_dir / source)
    if not result:
        return None
    card = {"split": "test", "source": source, "examples": result["examples"]}
    card["values"] = _choose_values(result)
    card["temperature"] = result.get("temperature", 1.0)
    for key in ("image_only", "text_only"):
        if result.get(key):  # null where the model does not read both
            card[key] = _choose_values(result[key])
    kept = ("accuracy_interval", "per_class")
    return card | {key: result[key] for key in kept if key in result}


def _read_validation(predictor: Predictor) -> dict[str, Any] | None:
    """Returns the validation metrics of the weights that training has kept."""
    train = predictor.config.train
    run = read_run(predictor.run_dir)
    key = f"val_{train.monitor}"
    lines = [line for line in run.read_history() if key in line]
    if not lines:
        return None
    sign = -1 if train.monitor == "loss" else 1
    # Of equal ones the first: training keeps weights only for better ones.
    best = max(lines, key=lambda line: sign * line[key])
    kept = best if train.keep == "best" else lines[-1]
    values = {k.removeprefix("val_"): v for k, v in kept.items() if k[:4] == "val_"}
    rows = read_splits(run.splits_path).values() if run.splits_path.is_file() else ()
    return {
        "split": "validation",
        "source": f"metrics.jsonl, step {kept['step']}",
        "examples": sum(row.split == "validation" for row in rows) or None,
        "values": _choose_values(values),
        "temperature": 1.0,  # training measures as it trains
    }


def _describe_weights(predictor: Predictor) -> dict[str, dict[str, str | None]]:
    """Returns what each branch began with; its licence stands in no file of a run."""
    model = predictor.config.model
    weights = {}
    for branch in ("image", "text"):
        if model.modalities in (branch, "image_text"):
            path = pathlib.Path(model[branch].preset)
            # Of a folder of this machine its name, and not where it lies.
            preset = path.name if path.is_absolute() else model[branch].preset
            weights[branch] = {"start": preset or "random", "licence": None}
    return weights


def _list_limits(predictor: Predictor) -> list[str]:
    preprocessor = predictor.preprocessor
    every = (
        f"Every input gets one of the {len(predictor.classes)} classes; there is no "
        "class for what is none of them."
    )
    if predictor.model.multi_label:
        every = (
            "An input has the classes whose probability is at least "
            f"{spec.THRESHOLD}: several, one or none. The probabilities do not sum to "
            "1, and a label that ranks first may lie below that."
        )
    limits = [
        every,
        "The scores were fitted to the training data. On pictures or texts of another "
        "kind they may be far too sure.",
    ]
    if preprocessor.modalities != "text":
        limits.append(
            f"An image of more than {preprocessor.max_image_px:,} pixels is not "
            "decoded; its row has the status image_too_large."
        )
    if preprocessor.modalities != "image":
        limits.append(
            f"Of a text the first {preprocessor.sequence_length - 2} word pieces are "
            "read; two more tokens mark its ends."
        )
    return limits


def _read_epochs(run_dir: pathlib.Path) -> int | None:
    history = read_run(run_dir).read_history()
    return history[-1]["epoch"] if history else None


def _choose_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {key: metrics[key] for key in VALUES if key in metrics}


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
