"""The report's tables."""

import pathlib

from tf_multimodal.evaluation import markdown

METRICS = {
    "accuracy": 0.5,
    "top3_accuracy": 1.0,
    "macro_f1": 0.25,
    "ece": 0.125,
    "loss": 0.6931,
    "examples": 4,
}
RESULT = {
    **METRICS,
    "weighted": False,
    "multi_label": False,
    "by_caption": {},
    "left_out": 0,
    "accuracy_interval": [0.25, 0.75],
    "image_only": {**METRICS, "accuracy": 0.4},
    "text_only": {**METRICS, "accuracy": 0.3},
    "split": "test",
    "source": "pairs.csv",
    "modalities": "image_text",
    "classes": ["a|b", "c"],
    "per_class": [
        {"class": name, "precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 2}
        for name in ("a|b", "c")
    ],
    "confusion": [[1, 1], [3, 0]],
    "statuses": {"ok": 3, "missing_input": 1},
    "seed": 7,
    "versions": {"keras": "3.15.1"},
}


def test_headline_table():
    lines = markdown.make_headline_table(RESULT).splitlines()
    assert lines[2:] == [
        "| image and text | 50.0 (25.0 to 75.0) | 100.0 | 25.0 | 12.5 | 0.693 |",
        "| image (text masked) | 40.0 | 100.0 | 25.0 | 12.5 | 0.693 |",
        "| text (image masked) | 30.0 | 100.0 | 25.0 | 12.5 | 0.693 |",
    ]
    assert len({line.count(" | ") for line in lines}) == 1


def test_weights_are_mentioned():
    plain = markdown.make_report(RESULT, pathlib.Path("runs/a"), {})
    weighted = markdown.make_report(
        {**RESULT, "weighted": True}, pathlib.Path("runs/a"), {}
    )
    assert "weights" not in plain
    assert "Rows count by their weights." in weighted


def test_single_modality_has_one_line():
    result = {**RESULT, "modalities": "text", "image_only": None}
    lines = markdown.make_headline_table(result).splitlines()
    assert len(lines) == 3 and lines[2].startswith("| text | 50.0")


def test_report():
    report = markdown.make_report(
        RESULT, pathlib.Path("runs/x"), {"confusion": "confusion.png"}
    )
    assert report.startswith("# x: test\n")
    assert r"| a\|b | 50.0 | 100.0 | 66.7 | 2 |" in report
    assert report.index(r"| c | a\|b | 3 |") < report.index(r"| a\|b | c | 1 |")
    assert "counted with what is left of them: 1 missing_input." in report
    assert "![Confusion matrix](confusion.png)" in report
    assert "Curves" not in report and "Examples" not in report
    assert "--run=runs/x --split=test" in report
    assert "Seed 7; keras 3.15.1." in report


def test_nothing_confused():
    result = {**RESULT, "confusion": [[2, 0], [0, 2]]}
    report = markdown.make_report(result, pathlib.Path("x"), {})
    assert "No pair was classified wrongly." in report


def test_label_sets():
    metrics = {
        "accuracy": 0.5,
        "micro_f1": 0.625,
        "macro_f1": 0.25,
        "mean_average_precision": 0.75,
        "loss": 0.6931,
    }
    rows = [{**row, "average_precision": 0.875} for row in RESULT["per_class"]]
    rows[1]["average_precision"] = None
    result = {k: v for k, v in RESULT.items() if k not in ("ece", "top3_accuracy")}
    result |= metrics | {"image_only": metrics, "text_only": metrics}
    result |= {"multi_label": True, "confusion": None, "per_class": rows}
    report = markdown.make_report(result, pathlib.Path("x"), {"examples": "e.png"})
    assert "| input | accuracy % | micro F1 % | macro F1 % | mAP % | loss |" in report
    assert "| 50.0 (25.0 to 75.0) | 62.5 | 25.0 | 75.0 | 0.693 |" in report
    assert r"| a\|b | 50.0 | 100.0 | 66.7 | 87.5 | 2 |" in report
    assert "| c | 50.0 | 100.0 | 66.7 |  | 2 |" in report
    assert "a class is predicted from a probability of 0.5 on" in report
    assert "Confusion" not in report


def test_captions():
    by_caption = {
        "title": {"rows": 3, "accuracy": 0.5, "macro_f1": 0.25},
        "alt|text": {"rows": 0, "accuracy": None, "macro_f1": None},
    }
    result = {**RESULT, "by_caption": by_caption}
    report = markdown.make_report(result, pathlib.Path("x"), {})
    assert "| title | 3 | 50.0 | 25.0 |\n" in report
    assert r"| alt\|text | 0 |  |  |" in report
    assert "Captions" not in markdown.make_report(RESULT, pathlib.Path("x"), {})


def test_rows_that_were_left_out_are_counted():
    report = markdown.make_report({**RESULT, "left_out": 12}, pathlib.Path("x"), {})
    assert (
        "Rows of all splits that could not be read and are not counted: 12." in report
    )
