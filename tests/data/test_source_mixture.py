"""Several sources in one run."""

import dataclasses
import json

import numpy as np
import pytest

from tf_multimodal.config import make_mixture_part
from tf_multimodal.data import source_mixture
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
    assert source.caption_names == ("caption", "long", "short")
    assert source.captions[0] == ("a text 0", "", "")
    assert source.captions[11] == ("", "l1", "s1")
    sets = source.label_sets.get(np.array([0, 1, 10, 11, 12]))
    np.testing.assert_array_equal(
        sets, [[0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1]]
    )


def test_captions_of_one_name_stand_in_one_place(mixture_config, tmp_path):
    rows = [f"own {i},short {i},{'ab'[i % 2]},train" for i in range(4)]
    (tmp_path / "own.csv").write_text("\n".join(["long,alt,kind,part", *rows]))
    others = [f"web {i},more {i},{'ab'[i % 2]},train" for i in range(4)]
    (tmp_path / "web.csv").write_text("\n".join(["alt,more,kind,part", *others]))
    shared = {"image": "", "label": "kind", "split": "part"}
    for name, captions in (("own", ("long", "alt")), ("web", ("alt", "more"))):
        mixture_config.data.mixture[name] = make_mixture_part(
            1,
            manifest=str(tmp_path / f"{name}.csv"),
            columns={**shared, "captions": captions},
        )
    source = load_source(mixture_config)
    assert source.caption_names == ("long", "alt", "more")
    assert list(source.captions)[3:5] == [
        ("own 3", "short 3", ""),
        ("", "web 0", "more 0"),
    ]


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


@pytest.fixture
def shared_config(config, tmp_path):
    """Two parts of 40 rows without splits; half of `b`'s are `a`'s, 20 rows on."""
    config.cache_dir = str(tmp_path / "cache")
    config.model.modalities = "text"
    kinds = ["cat" if i % 2 else "dog" for i in range(40)]
    texts = {"a": [f"Text  {i}" for i in range(40)]}
    texts["b"] = [
        f"text {(i + 20) % 40}" if i % 4 < 2 else f"other {i}" for i in range(40)
    ]
    for name, found in texts.items():
        rows = [f"{t},{k}" for t, k in zip(found, kinds, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
        config.data.mixture[name] = make_mixture_part(
            1, manifest=str(tmp_path / f"{name}.csv"), columns={"image": ""}
        )
    return config


def test_equal_texts_of_two_parts_stay_in_one_split(shared_config, capsys):
    source = load_source(shared_config)
    splits, groups = source.splits, source.groups
    shared = np.array([i for i in range(40) if i % 4 < 2])
    of_b = 40 + (shared + 20) % 40
    assert list(splits[of_b]) == list(splits[shared])
    assert list(groups[of_b]) == [f"a/{i + 2}" for i in shared]
    assert list(groups) == list(groups[np.arange(80)])
    assert groups[42] == "b/4" and len(set(groups)) == 60
    printed = capsys.readouterr().out
    assert "40 rows are in 20 groups of equal texts or images" in printed
    assert "cross splits" not in printed


def test_rows_follow_a_part_with_its_own_splits(shared_config, tmp_path, capsys):
    path, mixture = tmp_path / "b.csv", shared_config.data.mixture
    header, *lines = path.read_text().splitlines()
    rows = [f"{line},{('test', 'validation')[i % 2]}" for i, line in enumerate(lines)]
    path.write_text("\n".join([f"{header},part", *rows]))
    mixture.b.columns.split = "part"
    source = load_source(shared_config)
    assert list(source.splits[40:]) == ["test", "validation"] * 20
    assert list(source.splits[[0, 1, 4, 5]]) == ["test", "validation"] * 2
    assert source.groups[0] == source.groups[60] == "b/22"
    assert "cross splits" not in capsys.readouterr().out
    a = tmp_path / "a.csv"
    header, *lines = a.read_text().splitlines()
    a.write_text("\n".join([f"{header},part", *(f"{line},train" for line in lines)]))
    mixture.a.columns.split = "part"
    source = load_source(shared_config)
    assert list(source.splits) == ["train"] * 40 + ["test", "validation"] * 20
    printed = capsys.readouterr().out
    assert "20 groups of near-duplicates" in printed
    assert "a/2 (train), b/22 (test)" in printed


@pytest.mark.parametrize(("compare", "groups"), [("auto", 78), ("off", 80)])
def test_equal_images_of_two_parts_are_one_group(
    shared_config, tmp_path, compare, groups, capsys
):
    for part, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        rows = ["image,text,label"]
        for i in range(40):
            # The first two images of `a` are in `b`, too; all are of one length.
            number = i - 20 if part and i in (20, 21) else i + 40 * part
            content = f"image {number:04}"
            (tmp_path / name / f"{name}{i}.png").write_text(content)
            rows.append(f"{name}{i}.png,{name} {i},{'cat' if i % 2 else 'dog'}")
        (tmp_path / name / "pairs.csv").write_text("\n".join(rows))
        manifest = str(tmp_path / name / "pairs.csv")
        shared_config.data.mixture[name] = make_mixture_part(1, manifest=manifest)
    shared_config.data.compare_images = compare
    source = load_source(shared_config)
    assert len(set(source.groups)) == groups
    if compare == "auto":
        assert list(source.splits[:2]) == list(source.splits[60:62])
        assert list(source.groups[60:62]) == ["a/2", "a/3"]


def test_far_or_too_many_images_are_not_compared_unasked(
    shared_config, monkeypatch, capsys
):
    source = load_source(shared_config)
    source = dataclasses.replace(source, files=source.ids)
    is_remote = np.repeat([False, True], 40)
    choose = source_mixture._choose_images
    assert list(choose(source, is_remote, "auto")) == list(range(40))
    assert len(choose(source, is_remote, "on")) == 80
    monkeypatch.setattr(source_mixture, "COMPARED_IMAGES", 39)
    assert not len(choose(source, is_remote, "auto"))
    assert "40 images are too many" in capsys.readouterr().out
    assert len(choose(source, is_remote, "on")) == 80
