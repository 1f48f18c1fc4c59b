"""Rows worth a look, confusions, classes one by one, and the run's history."""

import base64
import io

import numpy as np
import PIL.Image
import pytest
from sklearn.metrics import precision_recall_fscore_support

from tf_multimodal.evaluation.report import curves, gallery, per_class

# Labels 0, 1, 2; rows 0 to 3 right, the others wrong.
TRUTH = [0, 1, 2, 0, 1, 2, 0]
PROBABILITIES = [
    [0.9, 0.05, 0.05],
    [0.3, 0.4, 0.3],
    [0.2, 0.2, 0.6],
    [0.99, 0.005, 0.005],
    [0.8, 0.1, 0.1],
    [0.1, 0.6, 0.3],
    [0.02, 0.95, 0.03],
]


def encode_png(side: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side // 2), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_mistakes_and_surprises_in_order(make_collected):
    section = gallery.make_gallery(make_collected(TRUTH, PROBABILITIES), count=2)
    assert [row["position"] for row in section["mistakes"]] == [6, 4]
    assert section["mistakes"][0]["confidence"] == pytest.approx(0.95, abs=1e-3)
    assert [row["position"] for row in section["surprises"]] == [1, 2]
    assert (section["mistakes_in_all"], section["rights_in_all"]) == (3, 4)


def test_one_row_of_a_group_and_none_of_weight_zero(make_collected):
    groups = np.array(["a", "b", "c", "d", "same", "e", "same"], object)
    weights = np.array([1, 0, 1, 1, 1, 1, 1], np.float32)
    collected = make_collected(TRUTH, PROBABILITIES, groups=groups, weights=weights)
    section = gallery.make_gallery(collected)
    assert [row["position"] for row in section["mistakes"]] == [6, 5]
    assert [row["position"] for row in section["surprises"]] == [2, 0, 3]


def test_gallery_of_label_sets_ranks_by_the_worst_class(make_collected):
    truth = [[1, 0], [1, 1], [0, 0], [0, 1]]
    probabilities = [[0.9, 0.8], [0.9, 0.05], [0.1, 0.4], [0.01, 0.99]]
    section = gallery.make_gallery(make_collected(truth, probabilities))
    found = [(row["position"], row["confidence"]) for row in section["mistakes"]]
    assert [position for position, _ in found] == [1, 0]
    assert [value for _, value in found] == pytest.approx([0.95, 0.8], abs=1e-3)
    assert [row["position"] for row in section["surprises"]] == [2, 3]
    assert section["surprises"][0]["confidence"] == pytest.approx(0.6, abs=1e-3)


def test_examples_show_the_row(make_collected):
    images = [encode_png(400), b"broken", b"", *([b""] * 4)]
    texts = ["a \x07 bell\nand so on", b"\xff bytes", "x" * 900, *([""] * 4)]
    collected = make_collected(TRUTH, PROBABILITIES, images=images, texts=texts)
    examples = gallery.make_examples(collected, [2, 0, 0, 4, 1])
    assert list(examples) == [0, 1, 2, 4]
    first = examples[0]
    assert first["text"] == "a bell and so on"
    assert gallery.clean_text("half a \ud83c flag") == "half a flag"
    assert (first["label"], first["prediction"]) == ("class 0", "class 0")
    assert first["confidence"] == pytest.approx(0.9, abs=1e-3) and first["correct"]
    picture = PIL.Image.open(io.BytesIO(base64.b64decode(first["thumbnail"])))
    assert picture.format == "JPEG" and picture.size == (128, 64)
    assert examples[1]["thumbnail"] is None and examples[1]["text"] == "\ufffd bytes"
    assert len(examples[2]["text"]) == gallery.MAX_TEXT
    assert examples[2]["text"].endswith("…")
    assert examples[4]["label"] == "class 1" and not examples[4]["correct"]


def test_examples_of_label_sets_name_all_classes(make_collected):
    collected = make_collected([[1, 1], [0, 0]], [[0.7, 0.9], [0.2, 0.1]])
    examples = gallery.make_examples(collected, [0, 1])
    assert examples[0]["label"] == "class 0, class 1"
    assert examples[0]["prediction"] == "class 1, class 0"
    assert examples[1]["label"] == examples[1]["prediction"] == "(none)"


def test_confusion_counts_and_shows_the_rows(make_collected):
    section = gallery.make_confusion(make_collected(TRUTH, PROBABILITIES))
    assert section["counts"] == [[2, 1, 0], [1, 1, 0], [0, 1, 1]]
    cells = {(cell["label"], cell["prediction"]): cell for cell in section["cells"]}
    assert len(cells) == 6
    assert cells[0, 0]["positions"] == [3, 0]  # the most confident first
    assert cells[0, 1]["positions"] == [6]
    assert cells[0, 1]["share"] == pytest.approx(1 / 3)
    top = [(cell["label"], cell["prediction"]) for cell in section["top"]]
    assert top == [(0, 1), (1, 0), (2, 1)]


def test_confusion_leaves_out_rows_of_weight_zero(make_collected):
    weights = np.array([1, 1, 1, 5, 1, 0, 0], np.float32)
    section = gallery.make_confusion(
        make_collected(TRUTH, PROBABILITIES, weights=weights)
    )
    assert section["counts"] == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]
    shown = {p for cell in section["cells"] for p in cell["positions"]}
    assert shown == {0, 1, 2, 3, 4}


def test_cells_hold_a_bounded_number_of_rows(make_collected, monkeypatch):
    truth = np.repeat([0, 1], [40, 3])
    probabilities = np.tile([0.7, 0.3], (43, 1))
    collected = make_collected(truth, probabilities)
    section = gallery.make_confusion(collected)
    sizes = [len(cell["positions"]) for cell in section["cells"]]
    assert sizes == [gallery.CELL_EXAMPLES, 3]
    monkeypatch.setattr(gallery, "ALL_EXAMPLES", 5)
    section = gallery.make_confusion(collected)
    assert [len(cell["positions"]) for cell in section["cells"]] == [3, 2]


def test_many_classes_have_a_list_instead_of_a_matrix(make_collected):
    classes = gallery.MAX_CONFUSION_CLASSES + 1
    truth = np.arange(classes)
    predicted = truth.copy()
    predicted[5] = 7
    probabilities = np.eye(classes)[predicted] * 0.9 + 0.001
    section = gallery.make_confusion(make_collected(truth, probabilities))
    assert section["counts"] is None
    assert [(c["label"], c["prediction"]) for c in section["top"]] == [(5, 7)]
    assert section["cells"] == section["top"]


def test_no_confusion_of_label_sets(make_collected):
    section = gallery.make_confusion(make_collected([[1, 0]], [[0.9, 0.1]]))
    assert list(section) == ["not_available"]


def test_classes_have_the_gain_of_the_text(make_collected):
    truth = np.repeat([0, 1], 20)
    both = np.where(truth[:, None] == [0, 1], 0.9, 0.1)
    image = np.tile([0.8, 0.2], (40, 1))  # always the first class
    variants = {"both": both, "image": image, "text": both}
    section = per_class.make_classes(make_collected(truth, variants))
    first, second = section["rows"]
    assert section["names"] == ["class 0", "class 1"]
    assert first["gain"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    assert second["gain"] == {"difference": 1.0, "interval": [1.0, 1.0]}
    assert second["accuracy"] == {"both": 1.0, "image": 0.0, "text": 1.0}
    assert (second["support"], second["precision"], second["f1"]) == (20, 1.0, 1.0)


def test_gain_is_weighted_and_missing_without_rows(make_collected):
    truth = [0, 0, 1]
    both = [[0.9, 0.05, 0.05], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]]
    image = [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]
    weights = np.array([1, 3, 0], np.float32)
    collected = make_collected(truth, {"both": both, "image": image}, weights=weights)
    rows = per_class.make_classes(collected)["rows"]
    assert rows[0]["gain"]["difference"] == pytest.approx(0.75)
    assert rows[1]["gain"] is None and rows[2]["gain"] is None
    assert rows[2]["accuracy"] == {"both": None, "image": None}


def test_figures_of_classes_are_weighted(make_collected):
    weights = np.array([1, 1, 1, 2, 0.5, 0, 4], np.float32)
    collected = make_collected(TRUTH, PROBABILITIES, weights=weights)
    section = per_class.make_classes(collected)
    assert section["weighted"] and "weighted" in section["notes"][0]
    expected = precision_recall_fscore_support(
        TRUTH,
        np.argmax(PROBABILITIES, axis=1),
        sample_weight=weights,
        zero_division=0,
    )
    for row, *values in zip(section["rows"], *expected, strict=True):
        found = [row[key] for key in ("precision", "recall", "f1", "support")]
        assert found == pytest.approx(values)
        assert row["recall"] == pytest.approx(row["accuracy"]["both"])
    # A copy of a row is a row of twice the weight, and one of weight 0 is none.
    assert section["rows"][2]["precision"] == 1.0 and section["rows"][2]["support"] == 1


def test_figures_of_label_sets_are_weighted(make_collected):
    truth = np.array([[1, 1], [1, 0], [0, 1], [1, 1], [0, 0]])
    probabilities = np.random.default_rng(1).random((5, 2))
    times = np.array([1, 2, 3, 0, 1])
    weighted = make_collected(truth, probabilities, weights=times.astype(np.float32))
    repeated = make_collected(truth.repeat(times, 0), probabilities.repeat(times, 0))
    sections = [per_class.make_classes(c) for c in (weighted, repeated)]
    assert [s["weighted"] for s in sections] == [True, False]
    keys = ("support", "precision", "recall", "f1", "average_precision")
    for ours, theirs in zip(*(s["rows"] for s in sections), strict=True):
        assert [ours[k] for k in keys] == pytest.approx([theirs[k] for k in keys])


def test_gain_is_over_the_run_of_its_own(make_collected):
    truth = np.repeat([0, 1], 20)
    both = np.where(truth[:, None] == [0, 1], 0.9, 0.1)
    image = np.tile([0.8, 0.2], (40, 1))
    collected = make_collected(truth, {"both": both, "image": image, "text": both})
    section = per_class.make_classes(collected, {"image": both})
    assert section["inputs"] == {
        "image": "image (a run of its own)",
        "text": "text (image masked)",
    }
    assert section["rows"][1]["gain"]["difference"] == 0.0
    assert section["rows"][1]["accuracy"]["image"] == 1.0
    masked = per_class.make_classes(collected, {})
    assert masked["inputs"]["image"] == "image (text masked)"
    assert masked["rows"][1]["gain"]["difference"] == 1.0


def test_classes_of_label_sets_and_of_one_modality(make_collected):
    truth = [[1, 1], [1, 0], [0, 1]]
    probabilities = [[0.9, 0.2], [0.8, 0.1], [0.1, 0.7]]
    rows = per_class.make_classes(make_collected(truth, probabilities))["rows"]
    assert [row["accuracy"]["both"] for row in rows] == [1.0, 0.5]
    assert [row["gain"] for row in rows] == [None, None]
    assert rows[1]["average_precision"] is not None


def test_rows_are_those_of_the_most_frequent_labels(make_collected, monkeypatch):
    monkeypatch.setattr(per_class, "MAX_CLASSES", 2)
    probabilities = np.full((4, 3), 1 / 3)
    section = per_class.make_classes(make_collected([0, 2, 2, 1], probabilities))
    assert [row["class"] for row in section["rows"]] == ["class 0", "class 2"]
    assert len(section["names"]) == 3


def test_curves_are_thinned_and_keep_the_last():
    history = [{"epoch": i, "loss": 1.0, "val_loss": abs(i - 300)} for i in range(999)]
    section = curves.make_curves(history)
    assert section["recorded"] == 999
    assert 200 < len(section["points"]) <= curves.MAX_POINTS
    assert section["points"][-1]["epoch"] == 998
    assert section["best"]["epoch"] == 300


def test_curves_leave_out_what_is_no_number():
    history = [{"epoch": 1, "loss": float("nan"), "accuracy": 0.5, "note": "x"}]
    section = curves.make_curves(history)
    assert section["points"] == [{"epoch": 1, "accuracy": 0.5}]
    assert section["best"] is None
    assert "not_available" in curves.make_curves([])
