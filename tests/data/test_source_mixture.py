"""Several sources in one run."""

import json

import numpy as np
import pytest

from tf_multimodal.config import make_mixture_part
from tf_multimodal.data.sources import load_source


@pytest.fixture
def mixture_config(config, tmp_path):
    """Ten rows of CSV and twenty of JSON lines, with other columns."""
    lines = [f"row{i},a text {i},{'cat' if i % 2 else 'dog'},train" for i in range(10)]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["key,caption,kind,part", *lines]))
    rows = [
        {"text": f"web {i}", "label": "ant" if i % 2 else "dog"}
        | {"split": ("train", "test", "validation")[i % 3]}
        for i in range(20)
    ]
    (tmp_path / "web.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config.cache_dir = str(tmp_path / "cache")
    config.model.modalities = "text"
    own = {
        "image": "",
        "text": "caption",
        "label": "kind",
        "split": "part",
        "id": "key",
    }
    config.data.mixture.own = make_mixture_part(3, manifest=str(path), columns=own)
    config.data.mixture.web = make_mixture_part(
        1, manifest=str(tmp_path / "web.jsonl"), columns={"image": "", "split": "split"}
    )
    return config


def test_parts_follow_each_other_in_the_classes_of_all(mixture_config, capsys):
    source = load_source(mixture_config)
    assert source.classes == ("ant", "cat", "dog") and len(source) == 30
    assert [tuple(part) for part in source.parts] == [
        ("own", 3.0, 0, 10),
        ("web", 1.0, 10, 30),
    ]
    assert list(source.labels[[0, 1, 10, 11]]) == [2, 1, 2, 0]
    assert list(source.ids[[1, 10]]) == ["own/row1", "web/1"]
    assert list(source.groups[[1, 10]]) == ["own/row1", "web/1"]
    assert list(source.texts[np.array([1, 10])]) == ["a text 1", "web 0"]
    assert list(source.splits[:12]) == ["train"] * 11 + ["test"]
    assert source.texts[29] == "web 19" and list(source.texts)[9:11] == [
        *("a text 9", "web 0"),
    ]
    assert "web: 20 rows, drawn with the weight 1." in capsys.readouterr().out


def test_rows_that_a_part_leaves_out_are_the_mixtures(mixture_config, tmp_path):
    mixture_config.data.max_drop_rate = 0.2
    path = tmp_path / "own.csv"
    path.write_text(path.read_text().replace("a text 3,cat", "a text 3,"))
    source = load_source(mixture_config)
    assert len(source) == 29 and source.parts[1].start == 9
    assert source.left_out[0].id == "own/row3" and source.left_out[0].row == 5


def test_captions_and_label_sets_of_one_part_are_those_of_all(mixture_config, tmp_path):
    rows = [
        {"long": f"l{i}", "short": f"s{i}", "kinds": ["ant", "dog"][: i % 3]}
        | {"split": "train"}
        for i in range(6)
    ]
    (tmp_path / "many.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mixture_config.data.mixture.web = make_mixture_part(
        1,
        manifest=str(tmp_path / "many.jsonl"),
        columns={
            "image": "",
            "labels": "kinds",
            "captions": ("long", "short"),
            "split": "split",
        },
    )
    source = load_source(mixture_config)
    assert source.caption_names == ("long", "short")
    assert source.captions[0] == ("a text 0", "") and source.captions[11] == (
        "l1",
        "s1",
    )
    sets = source.label_sets.get(np.array([0, 1, 10, 11, 12]))
    np.testing.assert_array_equal(
        sets, [[0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1]]
    )


def test_label_words_are_masked_in_captions_too(mixture_config, tmp_path):
    mixture_config.data.mask_label_words = True
    source = load_source(mixture_config)
    assert source.texts[0] == "a text 0"
    path = tmp_path / "own.csv"
    path.write_text(path.read_text().replace("a text 0", "a dog 0"))
    masked = load_source(mixture_config)
    assert masked.texts[0] == "a 0"
    assert masked.fingerprint != source.fingerprint


def test_the_classes_of_a_mixture_follow_the_class_map(mixture_config, tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("label,class\ndog,dog\nant,insect\ncat,cat\n")
    for part in mixture_config.data.mixture.values():
        part.class_map = str(path)
    mixture_config.data.class_map = str(path)
    source = load_source(mixture_config)
    assert source.classes == ("dog", "insect", "cat")
    assert list(source.labels[[0, 1, 11]]) == [0, 2, 1]
