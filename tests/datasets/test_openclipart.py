import collections
import shutil
import struct
import warnings
from xml.etree import ElementTree

import clipart_files
import numpy as np
import pytest
import tensorflow_datasets as tfds

import tf_multimodal.datasets.openclipart  # noqa: F401
from tf_multimodal.datasets.openclipart import package, rendering, selection

needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="needs the program dpkg-deb"
)
NAMES = ("train", "validation", "test")


def write_program(folder, name, script):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture(scope="module")
def deb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    return clipart_files.build_package(folder, package.TESTED_VERSION)


def prepare(data_dir, manual_dir=None):
    builder = tfds.builder("openclipart", data_dir=data_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder.download_and_prepare(download_config=config)
    return builder


def read_rows(builder, **options):
    data = {name: tfds.as_numpy(builder.as_dataset(name, **options)) for name in NAMES}
    return {name: list(data[name]) for name in NAMES}


@pytest.mark.parametrize(
    ("clipart_id", "label"),
    [
        ("animals/birds/duck.svg", "animals"),
        ("signs_and_symbols/stop.svg", "signs_and_symbols"),
        ("signs_and_symbols/flags/asia/japan.svg", "flags"),
        ("signs_and_symbols/flags/semaphore/a.svg", None),
        ("science/atom.svg", None),
        ("flags/japan.svg", None),
        ("loose.svg", None),
    ],
)
def test_label_is_the_folder(clipart_id, label):
    assert selection.get_label(clipart_id) == label


@pytest.mark.parametrize(
    ("title", "expected"),
    [(" Été &amp; co ", "Été & co"), ("", ""), (None, "")],
)
def test_title_is_the_works_not_the_authors(tmp_path, title, expected):
    path = clipart_files.write_svg(tmp_path / "a.svg", title)
    assert selection.read_title(path) == expected


def test_broken_file_is_a_parse_error(tmp_path):
    path = tmp_path / "a.svg"
    path.write_text("<svg><g></svg>")
    with pytest.raises(ElementTree.ParseError):
        selection.read_title(path)


def test_selection_leaves_out_what_the_rules_say(tmp_path):
    clipart_files.write_library(tmp_path)
    selected = selection.select_cliparts(tmp_path)
    ids = [clipart.id for clipart in selected.cliparts]
    assert len(ids) == 42 and ids == sorted(ids)
    assert collections.Counter(c.label for c in selected.cliparts) == {
        "animals": 10,
        "flags": 10,
        "food": 12,  # blank.svg and no_size.svg are found out by rendering
        "plants": 10,
    }
    assert selected.excluded == {"symbolic link": 1, "no title": 1, "theme title": 13}
    assert list(selected.failures) == ["food/broken.svg"]
    assert "not well-formed" in selected.failures["food/broken.svg"]


def test_title_that_twelve_files_share_stays(tmp_path):
    clipart_files.write_library(tmp_path)
    (tmp_path / "computer" / "theme_0.svg").unlink()
    selected = selection.select_cliparts(tmp_path)
    assert sum(clipart.title == "Icon theme" for clipart in selected.cliparts) == 12


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [
        ("20", "10", (128, 256, 3)),
        ("25.4mm", "12.7mm", (128, 256, 3)),
        ("15pt", "60pt", (256, 64, 3)),
    ],
)
def test_rendering_fits_the_longest_side(tmp_path, width, height, shape):
    path = clipart_files.write_svg(tmp_path / "a.svg", width=width, height=height)
    png, image = rendering.render_svg(path)
    assert image.shape == shape and image.dtype == np.uint8
    assert struct.unpack(">II", png[16:24]) == (shape[1], shape[0])


def test_rendering_is_onto_white(tmp_path):
    body = '<rect width="10" height="10" fill="#ff0000" fill-opacity="0.5"/>'
    path = clipart_files.write_svg(tmp_path / "a.svg", body=body)
    _, image = rendering.render_svg(path)
    assert image[64, 200].tolist() == [255, 255, 255]
    np.testing.assert_allclose(image[64, 40], [255, 127, 127], atol=1)


def test_blank_rendering_is_refused(tmp_path):
    path = clipart_files.write_svg(tmp_path / "a.svg", body="<g/>")
    with pytest.raises(ValueError, match="blank"):
        rendering.render_svg(path)


@needs_dpkg
def test_builder_from_the_manual_folder(tmp_path, deb, capsys):
    builder = prepare(tmp_path, deb.parent)
    rows = read_rows(builder)
    sizes = {name: len(rows[name]) for name in NAMES}
    assert sizes == {"train": 28, "validation": 6, "test": 6}
    by_id = {row["id"].decode(): row for name in NAMES for row in rows[name]}
    assert len(by_id) == 40
    row = by_id["signs_and_symbols/flags/asia/3.svg"]
    assert row["text"].decode() == "sig number 3"
    assert builder.info.features["label"].int2str(row["label"]) == "flags"
    assert row["image"].shape == (128, 256, 3)
    splits_of = collections.defaultdict(set)
    for name in NAMES:
        for row in rows[name]:
            splits_of[row["group"]].add(name)
    assert all(len(names) == 1 for names in splits_of.values())

    summary = tfds.builder("openclipart", data_dir=tmp_path).info.metadata
    assert summary["pairs_per_class"]["food"] == 10
    assert summary["groups"] == len(splits_of)
    assert set(summary["failed"]) == {
        "food/broken.svg",
        "food/blank.svg",
        "food/no_size.svg",
    }
    printed = capsys.readouterr().out
    assert "splits: train 28, validation 6, test 6" in printed
    assert "food/blank.svg: blank" in printed


@needs_dpkg
def test_builder_makes_the_same_data_again(tmp_path, deb):
    decoders = {"image": tfds.decode.SkipDecoding()}
    first, second = (
        read_rows(prepare(tmp_path / name, deb.parent), decoders=decoders)
        for name in ("a", "b")
    )
    assert first == second


def test_without_apt_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(RuntimeError) as caught:
        prepare(tmp_path / "data")
    message = str(caught.value)
    assert "there is no apt-get" in message
    assert str(tmp_path / "data" / "downloads" / "manual") in message
    assert "openclipart-svg_0.18+dfsg-19_all.deb" in message


def test_failure_of_apt_is_shown(tmp_path, monkeypatch):
    write_program(tmp_path / "bin", "apt-get", "echo 'E: no such host' >&2; exit 100")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    manual = tmp_path / "manual"
    manual.mkdir()
    (manual / "other.zip").touch()
    with pytest.raises(RuntimeError, match="E: no such host") as caught:
        prepare(tmp_path / "data", manual)
    assert f"{manual} holds no openclipart-svg_*.deb" in str(caught.value)


def test_download_keeps_the_package_alone(tmp_path, monkeypatch):
    script = (
        'for a in "$@"; do case "$a" in\n'
        '  --option=Dir::State=*) test -d "${a#*=*=}/lists" || exit 3;;\n'
        "  download) echo data > openclipart-svg_1_all.deb;;\n"
        "esac; done"
    )
    write_program(tmp_path / "bin", "apt-get", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    path = package.download_package(tmp_path / "kept")
    assert path.read_text() == "data\n"
    assert list((tmp_path / "kept").iterdir()) == [path]


@needs_dpkg
def test_another_version_is_a_warning(tmp_path, deb):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert package.read_version(deb) == package.TESTED_VERSION
    other = clipart_files.build_package(tmp_path, "1:0.19-1")
    with pytest.warns(UserWarning, match="version 1:0.19-1; tested is 1:0.18"):
        assert package.read_version(other) == "1:0.19-1"


@needs_dpkg
def test_broken_package_is_named(tmp_path):
    path = tmp_path / "openclipart-svg_1_all.deb"
    path.write_bytes(b"cut short")
    with pytest.raises(RuntimeError, match="openclipart-svg_1_all.deb"):
        package.unpack_package(path, tmp_path)


@pytest.mark.slow
@needs_dpkg
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get")
def test_the_real_package_gives_the_documented_counts(tmp_path):
    builder = prepare(tmp_path)
    summary = builder.info.metadata
    if summary["package_version"] != package.TESTED_VERSION:
        pytest.skip(f"counts are those of version {package.TESTED_VERSION}")
    assert summary["pairs"] == 2828
    assert summary["pairs_per_class"] == {
        "animals": 270,
        "computer": 320,
        "flags": 446,
        "food": 321,
        "geography": 106,
        "office": 114,
        "people": 278,
        "plants": 71,
        "recreation": 302,
        "signs_and_symbols": 351,
        "tools": 119,
        "transportation": 130,
    }
    assert (summary["groups"], summary["largest_group"]) == (2199, 12)
    assert summary["own_class_word_percent"] == 3.4
    assert summary["splits"] == {"train": 1980, "validation": 424, "test": 424}
    assert len(summary["failed"]) == 7
    sizes = {name: builder.info.splits[name].num_examples for name in NAMES}
    assert sizes == summary["splits"]
