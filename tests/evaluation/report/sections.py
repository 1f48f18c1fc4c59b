"""Every section of a report, made up, with texts that a page must survive."""

import base64
import io

import numpy as np
import PIL.Image

HOSTILE = "<script>document.title = 'owned'</script>"
CLASSES = (
    "animals",
    "computer <b>parts</b>",
    "猫と犬",
    "חיות מחמד",
    "$5 & \"quotes\" 'n' {{ 7 * 7 }}",
    "signs_and_symbols_with_a_very_long_name",
    "🎉 party",
)
TEXTS = (
    HOSTILE,
    "a red bird --> ]]> & so on",
    "שלום עולם, an image of a cat",
    "とても長い説明文がここに続きます" * 8,
    "",
    "x" * 300,
    "</style><img src=x onerror=\"document.title='owned'\">",
)
STATES = (("both", 0.75), ("image", 0.68), ("text", 0.55), ("words_masked", 0.71))


def make_jpeg(number: int, side: int = 96) -> str:
    """Returns a JPEG of one colour and two stripes in base64."""
    pixels = np.full((side, side * 3 // 2, 3), 235, np.uint8)
    pixels[20 + 9 * (number % 5) :][:22] = (40 * number) % 255, 110, 160
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


def make_sections(classes: tuple[str, ...] = CLASSES, rows: int = 40) -> dict:
    """Returns the sections of a report of `rows` rows over `classes`."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 6, (len(classes), len(classes))) + 20 * np.eye(
        len(classes), dtype=int
    )
    return {
        "text_worth": _make_text_worth(),
        "headline": _make_headline(rows),
        "curves": _make_curves(),
        "confusion": _make_confusion(classes, counts, rows),
        "classes": {
            "rows": [_make_class(name, i, rng) for i, name in enumerate(classes)],
            "names": list(classes),
            "inputs": {"image": "image (text masked)", "text": "text (image masked)"},
            "weighted": False,
            "notes": [],
        },
        "thresholds": _make_thresholds(classes),
        "calibration": _make_calibration(rows),
        "gallery": {
            "mistakes": [
                {"position": i, "confidence": 0.99 - i / 100} for i in range(7)
            ],
            "surprises": [
                {"position": i, "confidence": 0.2 + i / 100} for i in range(7, 14)
            ],
            "mistakes_in_all": 12,
            "rights_in_all": 28,
        },
        "suspects": {
            "method": "confident learning",
            "estimated": 3,
            "estimated_share": 0.075,
            "shown": 4,
            "notes": ["A suspect is no proof."],
            "rows": [
                {
                    "position": i,
                    "given": [classes[0]],
                    "suggested": [classes[-1]],
                    "given_probability": 0.02,
                    "suggested_probability": 0.95,
                    "score": 0.01 * i,
                }
                for i in range(6)
            ],
        },
        "explanations": {"rows": [_make_explanation(i) for i in range(4)]},
        "slices": _make_slices(),
        "robustness": _make_robustness(),
        "examples": {i: _make_example(i, classes) for i in range(rows)},
        "how": {
            "run": "runs/<made up>",
            "command": "python -m tf_multimodal.evaluation.report --run=runs/x",
            "seed": 0,
            "temperature": 1.27,
            "left_out": 0,
            "versions": {"tensorflow": "2.21.0", "keras": "3.15.0"},
        },
    }


def _make_text_worth() -> dict:
    return {
        "sentence": "Yes: the text brings 7.0 points of accuracy over the image alone "
        "(95 % interval 4.1 to 9.9); the classes' own words account for 57 % of that.",
        "notes": ["Words are blanked in the text of the same model."],
        "both": 0.75,
        "over_image": {
            "name": "the image alone",
            "accuracy": 0.68,
            "difference": 0.07,
            "interval": [0.041, 0.099],
        },
        "over_better": {
            "name": "the image alone",
            "modality": "image",
            "accuracy": 0.68,
            "difference": 0.07,
            "interval": [0.041, 0.099],
        },
        "words_masked": {
            "accuracy": 0.71,
            "difference": 0.03,
            "interval": [0.004, 0.056],
            "rows_with_own_words": 0.31,
        },
        "own_words": {
            "share": 0.57,
            "interval": [0.31, 0.93],
            "loss": 0.04,
            "loss_interval": [0.02, 0.06],
            "told": True,
            "why": "",
        },
    }


def _make_headline(rows: int) -> dict:
    mcnemar = {"p_value": 0.00031, "only_a": 41, "only_b": 11}
    sign_test = {"p_value": 0.0173, "only_a": 30, "only_b": 10}
    gain = {"of": "image and text", "difference": 0.07, "interval": [0.041, 0.099]}
    gain |= {"mcnemar": mcnemar, "sign_test": sign_test}
    names = ("image and text", "image (text masked)", "text (image masked)")
    return {
        "rows": [
            {
                "name": name,
                "metrics": {
                    "accuracy": value,
                    "macro_f1": value - 0.05,
                    "top3_accuracy": value + 0.15,
                    "ece": 0.04,
                    "loss": 0.9,
                },
                "intervals": {
                    "accuracy": [value - 0.04, value + 0.04],
                    "macro_f1": [value - 0.09, value],
                    "top3_accuracy": [value + 0.1, value + 0.2],
                },
            }
            for name, value in zip(names, (0.75, 0.68, 0.55), strict=True)
        ],
        "gains": [
            {**gain, "over": "image (text masked)"},
            {**gain, "over": "text (image masked)"},
        ],
        "masked": [
            {
                "name": name,
                "accuracy": 0.75 - loss,
                "interval": [0.71 - loss, 0.79 - loss],
                "loss_of_accuracy": loss or None,
                "loss_interval": [loss - 0.031, loss + 0.031] if loss else None,
            }
            for name, loss in (
                ("image and text", 0.0),
                ("text masked", 0.067),
                ("image masked", 0.2),
                ("the classes' own words blanked", 0.04),
                ("the classes' own words blanked, image masked", 0.53),
            )
        ],
        "counted": rows,
        "groups": rows - 3,
        "notes": ["A masked input is replaced by a learned embedding."],
        "examples": rows,
        "split": "test",
        "source": "pairs <of> ours",
        "multi_label": False,
        "modalities": "image_text",
        "statuses": {"ok": rows - 1, "missing_input": 1, "undecodable_image": 0},
    }


def _make_curves() -> dict:
    points = [
        {
            "step": 62 * i,
            "epoch": i,
            "loss": 3 / i,
            "accuracy": 1 - 0.7 / i,
            "val_loss": 1.5 / i + 0.3,
            "val_accuracy": 0.8 - 0.4 / i,
            "val_macro_f1": 0.7 - 0.4 / i,
            "learning_rate": 0.001,
        }
        for i in range(1, 16)
    ]
    return {"points": points, "recorded": 15, "best": points[-1]}


def _make_confusion(classes: tuple[str, ...], counts: np.ndarray, rows: int) -> dict:
    is_small = len(classes) <= 40
    cells = [
        {
            "label": i,
            "prediction": j,
            "count": int(counts[i, j]),
            "share": float(counts[i, j] / counts[i].sum()),
            "positions": [(7 * i + j + k) % rows for k in range(min(3, counts[i, j]))],
        }
        for i in range(min(len(classes), 40))
        for j in range(min(len(classes), 40))
        if counts[i, j]
    ]
    wrong = [cell for cell in cells if cell["label"] != cell["prediction"]]
    top = sorted(wrong, key=lambda cell: -cell["count"])[: 12 if is_small else 40]
    return {
        "classes": list(classes),
        "counts": counts.tolist() if is_small else None,
        "cells": cells if is_small else top,
        "top": top,
    }


def _make_class(name: str, i: int, rng: np.random.Generator) -> dict:
    gain = float(rng.normal(0.04, 0.08))
    accuracy = {variant: value - 0.02 * (i % 5) for variant, value in STATES}
    return {
        "class": name,
        "precision": 0.9 - 0.01 * (i % 60),
        "recall": 0.5 + 0.01 * (i % 40),
        "f1": 0.7 + 0.01 * (i % 20),
        "support": 10 + 3 * (i % 50),
        "accuracy": accuracy,
        "gain": {"difference": gain, "interval": [gain - 0.06, gain + 0.05]},
    }


def _make_thresholds(classes: tuple[str, ...]) -> dict:
    recall = np.linspace(1, 0, 50)
    confidence = np.linspace(0.2, 0.99, 50)
    return {
        "notes": ["The best thresholds were chosen on these rows."],
        "mean_average_precision": 0.81,
        "curves_left_out": 0,
        "classes": [
            {
                "class": name,
                "support": 30 + i,
                "average_precision": 0.6 + 0.3 * (i % 10) / 10,
                "precision": (1 - recall ** (2 + i % 10) * 0.7).tolist(),
                "recall": recall.tolist(),
                "threshold": (1 - recall).tolist(),
                "best": {"threshold": 0.4, "f1": 0.7, "precision": 0.8, "recall": 0.6},
            }
            for i, name in enumerate(classes)
        ],
        "coverage": {
            "confidence": confidence.tolist(),
            "coverage": (1 - (confidence - 0.2)).tolist(),
            "accuracy": (0.75 + 0.3 * (confidence - 0.2)).tolist(),
            "rows": [40 - i // 2 for i in range(50)],
        },
    }


def _make_calibration(rows: int) -> dict:
    def make_state(shift: float) -> dict:
        bins = [
            {
                "low": i / 15,
                "high": (i + 1) / 15,
                "rows": i,
                "share": i / 105,
                "confidence": (i + 0.5) / 15 if i else None,
                "accuracy": max(0.0, (i + 0.5) / 15 - shift) if i else None,
            }
            for i in range(15)
        ]
        return {"ece": shift, "loss": 0.9 + shift, "bins": bins}

    return {
        "temperature": 1.27,
        "fitted": {
            "split": "validation",
            "rows": 424,
            "ece_before": 0.08,
            "ece_after": 0.02,
            "loss_before": 0.95,
            "loss_after": 0.9,
        },
        "before": make_state(0.09),
        "after": make_state(0.02),
        "rows": rows,
        "multi_label": False,
    }


def _make_explanation(number: int) -> dict:
    text = TEXTS[number % 4]
    words = text.split() or [text]
    return {
        "position": number,
        "target": number % 3,
        "probability": 0.9 - number / 10,
        "picture_jpeg": None if number == 3 else make_jpeg(number),
        "heat_map_jpeg": None if number == 3 else make_jpeg(number + 2),
        "words": [[word, (-1) ** i / (i + 1)] for i, word in enumerate(words)],
        "image_share": 0.6,
        "text_share": 0.4,
        "completeness_gap": 0.004,
    }


def _make_slices() -> dict:
    names = (("text length", "1 to 3 words"), ("script", "Latin"), ("column <a>", "b"))
    return {
        "accuracy": 0.75,
        "count": 40,
        "looked_at": 14,
        "too_small": 3,
        "min_rows": 10,
        "columns": ["<a>"],
        "notes": ["Fourteen slices were looked at."],
        "rows": [
            {
                "by": by,
                "name": name,
                "count": 12 + i,
                "accuracy": 0.6 + i / 10,
                "interval": [0.5 + i / 10, 0.7 + i / 10],
                "difference": -0.15 + i / 10,
                "difference_interval": [-0.25 + i / 10, -0.05 + i / 10],
                "p_value": 0.002 * (i + 1),
                "survives": i == 0,
            }
            for i, (by, name) in enumerate(names)
        ],
    }


def _make_robustness() -> dict:
    def make_level(severity: int, drop: float) -> dict:
        return {
            "severity": severity,
            "setting": f"sigma {severity} px",
            "accuracy": 0.75 - drop,
            "interval": [0.7 - drop, 0.8 - drop],
            "drop": drop,
            "drop_interval": [drop - 0.03, drop + 0.03],
        }

    def make_damage(name: str, levels: int, drop: float) -> dict:
        return {
            "name": name,
            "levels": [make_level(i + 1, drop * (i + 1)) for i in range(levels)],
        }

    return {
        "count": 30,
        "of": 40,
        "seed": 0,
        "notes": ["Thirty rows, drawn with seed 0."],
        "clean": {"accuracy": 0.75, "interval": [0.7, 0.8]},
        "image": [
            make_damage("Gaussian blur", 3, 0.05),
            make_damage("JPEG", 3, 0.01),
            make_damage("occlusion", 3, 0.08),
        ],
        "text": [make_damage("typos", 3, 0.02), make_damage("wrong caption", 1, 0.2)],
    }


def _make_example(position: int, classes: tuple[str, ...]) -> dict:
    return {
        "id": f"row-{position}",
        "text": TEXTS[position % len(TEXTS)],
        "label": classes[position % len(classes)],
        "prediction": classes[(position * 3) % len(classes)],
        "confidence": 0.3 + (position % 7) / 10,
        "correct": position % len(classes) == (position * 3) % len(classes),
        "status": "ok" if position % 7 else "missing_input",
        "file": f"images/{position}.png",
        "row": position + 2,
        "thumbnail": make_jpeg(position) if position % 7 else None,
    }
