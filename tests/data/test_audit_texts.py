import dataclasses

import audit_samples
import numpy as np
import pytest

from tf_multimodal.data.audit import label_counts, label_leak, texts
from tf_multimodal.data.source import LabelSets
from tf_multimodal.data.tokenizer import WordPieceTokenizer

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a red bird cat word".split()


def make_text_source(values, **more):
    return audit_samples.make_source([""] * len(values), values, **more)


def make_leaky_source(count=60):
    """The word beside the number tells the label, and no name of a class does."""
    labels = [i % 2 for i in range(count)]
    values = [f"{('wing', 'whisker')[i % 2]} {i} thing" for i in range(count)]
    return make_text_source(values, labels=labels)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("no_text", ["no text"]),
        ("empty_text", ["spaces"]),
        ("undecodable_text", ["latin"]),
        ("long_text", ["long"]),
        ("repeated_text", ["good", "repeated"]),
    ],
)
def test_each_trouble_is_found_in_its_row_alone(tmp_path, kind, expected):
    source, names = audit_samples.make_troubled_source(tmp_path)
    facts = texts.measure_texts(source)
    findings = {f.kind: f for f in texts.list_text_findings(source, facts)}
    assert [names[index] for index in findings[kind].indices] == expected
    assert findings[kind].count == len(expected)


def test_notes_say_how_long_and_how_often():
    source = make_text_source(["x" * 1001, "b", "B ", " b"])
    findings = {
        f.kind: f for f in texts.list_text_findings(source, texts.measure_texts(source))
    }
    assert findings["long_text"].rows[0]["note"] == "1001 characters"
    assert findings["repeated_text"].rows[0]["note"] == "stands in 3 rows"


def test_most_repeated_texts_come_first_with_labels_and_splits():
    values = ["two", "TWO", "three", "Three", " three", "", "", "once"]
    source = make_text_source(
        values, labels=[0] * 8, splits=["train", "test"] + ["train"] * 6
    )
    summary = texts.summarize_texts(source, texts.measure_texts(source))
    assert summary["repeated"] == [
        {"text": "three", "rows": 3, "labels": 1, "splits": ["train"]},
        {"text": "two", "rows": 2, "labels": 1, "splits": ["test", "train"]},
    ]
    assert summary["texts"] == 6
    assert summary["percentiles"]["characters"]["largest"] == 6


def test_every_caption_is_a_text_of_its_row():
    source = make_text_source(
        ["one", "three"],
        captions=audit_samples.make_column([("one", "two"), ("", "one")]),
        caption_names=("first", "second"),
    )
    facts = texts.measure_texts(source)
    assert facts.rows.tolist() == [0, 0, 1]
    assert facts.chars.tolist() == [3, 3, 3]
    summary = texts.summarize_texts(source, facts)
    assert [(row["text"], row["rows"]) for row in summary["repeated"]] == [("one", 2)]


def test_tokens_are_counted_as_the_model_sees_them():
    source = make_text_source(["a red bird", "cat", "", "a a a a a a"])
    facts = texts.measure_texts(source, WordPieceTokenizer(PIECES, lowercase=True))
    assert facts.tokens.tolist() == [5, 3, 8]  # [CLS] and [SEP] included
    summary = texts.summarize_tokens(facts, max_tokens=5)
    assert (summary["cut"], summary["max_tokens"]) == (1, 5)
    assert summary["cut_share"] == pytest.approx(1 / 3)
    assert summary["percentiles"]["tokens"]["50 %"] == 5
    assert texts.summarize_tokens(texts.measure_texts(source), 5) is None


def test_a_word_that_tells_the_label_is_found_by_the_linear_model():
    leak = label_leak.measure_leak(make_leaky_source())
    assert leak["with_class_name"] == 0
    assert leak["bag_of_words"]["accuracy"] == 1.0
    assert leak["bag_of_words"]["majority_accuracy"] <= 0.6
    assert (leak["bag_of_words"]["rows"], leak["bag_of_words"]["labels"]) == (60, 2)


def test_the_linear_model_is_tested_on_other_groups():
    # Every group has its own word: within a group it gives the label away.
    labels = [(i // 2) % 2 for i in range(40)]
    source = make_text_source(
        [f"word{i // 2}" for i in range(40)],
        labels=labels,
        groups=[f"g{i // 2}" for i in range(40)],
    )
    assert label_leak.measure_leak(source)["bag_of_words"]["accuracy"] <= 0.6


def test_share_of_texts_with_their_own_class_name():
    source = make_text_source(
        ["two birds", "a bird", "Cats!", "", b"bird\xff"], labels=[0, 1, 1, 0, 0]
    )
    leak = label_leak.measure_leak(source)
    assert (leak["rows"], leak["with_class_name"]) == (3, 2)
    assert leak["with_class_name_share"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "values",
    [["a bird"] * 4, ["...", "!", "?", "--"], [""] * 4, ["猫", "犬", "鸟", "鱼"]],
)
def test_texts_that_teach_nothing_end_in_no_error(values):
    source = make_text_source(values, groups=["g", "h", "g", "h"])
    result = label_leak.measure_leak(source)["bag_of_words"]
    assert "reason" in result or 0 <= result["accuracy"] <= 1


def test_class_names_and_words_in_any_script():
    values = [f"{('红 猫', '蓝 狗')[i % 2]} 图{i}" for i in range(30)]
    source = make_text_source(values, labels=[i % 2 for i in range(30)])
    source = dataclasses.replace(source, classes=("猫", "狗"))
    leak = label_leak.measure_leak(source)
    assert leak["with_class_name"] == 30
    assert leak["bag_of_words"]["accuracy"] == 1.0


def test_labels_by_split_and_classes_in_one_split_alone():
    source = make_text_source(
        ["a"] * 6,
        labels=[0, 0, 0, 0, 1, -1],
        splits=["train", "train", "validation", "test", "test", "train"],
    )
    summary = label_counts.summarize_labels(source)
    assert summary["classes"] == [
        {"class": "bird", "rows": 4, "train": 2, "validation": 1, "test": 1},
        {"class": "cat", "rows": 1, "train": 0, "validation": 0, "test": 1},
    ]
    assert summary["largest_over_smallest"] == 4
    assert summary["majority_share"] == 0.8
    assert summary["in_one_split"] == summary["not_in_train"] == ["cat"]
    assert summary["effective_classes"] == pytest.approx(1.649, abs=1e-3)
    findings = {f.kind: f for f in label_counts.list_label_findings(source)}
    assert findings["label_in_one_split"].indices == (4,)
    assert findings["label_in_one_split"].rows[0]["note"] == "'cat' is in test alone"
    assert findings["no_label"].indices == (5,)


def test_label_sets_count_every_label_of_a_row():
    sets = LabelSets(np.array([0, 2, 2, 3]), np.array([0, 1, 1], np.int32), 2)
    source = make_text_source(
        ["bird", "", "bird cat"],
        labels=[0, -1, 1],
        splits=["train", "train", "test"],
        label_sets=sets,
    )
    summary = label_counts.summarize_labels(source)
    assert [row["rows"] for row in summary["classes"]] == [1, 2]
    assert [row["test"] for row in summary["classes"]] == [0, 1]
    assert summary["labels_per_row"] == 1.0
    findings = {f.kind: f for f in label_counts.list_label_findings(source)}
    assert findings["no_label"].indices == (1,)
    leak = label_leak.measure_leak(source)
    assert (leak["rows"], leak["with_class_name"]) == (2, 2)
