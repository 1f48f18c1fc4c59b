import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data.sources import load_source, make_settings

BUILDER = """
import numpy as np
import tensorflow_datasets as tfds

SPLITS = {splits}


class {name}(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = {{
            "picture": tfds.features.Image(shape=(None, None, 3)),
            "title": tfds.features.Text(),
            "kind": tfds.features.ClassLabel(names=["cat", "dog"]),
            "key": tfds.features.Text(),
            "cluster": tfds.features.Text(),
            "number": np.int64,
        }}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {{split: self._make(split, n) for split, n in SPLITS.items()}}

    def _generate_examples(self):
        raise AssertionError

    def _make(self, split, count):
        for i in range(count):
            rng = np.random.RandomState(1000 * list(SPLITS).index(split) + i // 2)
            blocks = rng.randint(0, 256, (5, 5, 3), np.uint8)
            yield f"{{i:03d}}", {{
                "picture": blocks.repeat(6, 0).repeat(6, 1),
                "title": f"{{split}} título {{i}}",
                "kind": i // 2 % 2,
                "key": f"{{split}}/{{i}}",
                "cluster": f"{{split}}/{{i // 2}}",
                "number": i,
            }}
"""


@pytest.fixture
def make_tfds_config(config, tmp_path, monkeypatch):
    """Writes a builder of its own name, and returns a config that reads it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, splits):
        code = BUILDER.format(name=name, splits=splits)
        package = tmp_path / f"{name.lower()}_package"  # TFDS wants no bare module
        package.mkdir()
        (package / "__init__.py").write_text(code)
        config.cache_dir = str(tmp_path / "cache")
        config.data.tfds.module = package.name
        config.data.tfds.name = name.lower()
        features = config.data.columns
        features.image, features.text, features.label = "picture", "title", "kind"
        return config

    return make


@pytest.fixture
def manifest_config(config, tmp_path):
    """A config that reads 40 rows without images, and the file."""
    rows = [f"{'cat' if i % 2 else 'dog'},a {i} cats" for i in range(40)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["label,text", *rows]) + "\n")
    config.data.manifest = str(path)
    config.data.columns.image = ""
    config.model.modalities = "text"
    return config


def test_tfds_with_its_own_splits_ids_and_groups(make_tfds_config, capsys):
    config = make_tfds_config("Ownsplits", {"train": 6, "validation": 4, "test": 2})
    config.data.columns.id = "key"
    config.data.columns.group = "cluster"
    source = load_source(config)
    assert source.name == "ownsplits/1.2.0" and source.classes == ("cat", "dog")
    counts = [len(source.get_indices(s)) for s in ("train", "validation", "test")]
    assert counts == [6, 4, 2]
    assert set(source.ids[source.get_indices("test")]) == {"test/0", "test/1"}
    row = list(source.ids).index("train/3")
    assert source.texts[row] == "train título 3" and source.labels[row] == 1
    assert source.groups[row] == "train/1"
    assert source.images[row].startswith(b"\x89PNG")  # still encoded
    assert tf.io.decode_image(source.images[row]).shape == (30, 30, 3)
    printed = capsys.readouterr().out
    assert "12 rows, 2 classes. train 6, validation 4, test 2." in printed


@pytest.mark.parametrize(
    ("name", "splits", "sizes"),
    [
        ("Trainonly", {"train": 40}, (28, 6, 6)),
        ("Withtest", {"train": 34, "test": 6}, (28, 6, 6)),
    ],
)
def test_tfds_splits_that_are_missing_come_from_train(
    name, splits, sizes, make_tfds_config
):
    source = load_source(make_tfds_config(name, splits))
    counts = [len(source.get_indices(s)) for s in ("train", "validation", "test")]
    assert tuple(counts) == sizes
    # Pairs of examples share their image: near-duplicates, found by it.
    groups = source.groups[:]
    assert len(set(groups)) == len(source) // 2
    for group in set(groups):
        assert len(set(source.splits[groups == group])) == 1
    if "test" in splits:
        texts = source.texts[source.get_indices("test")]
        assert sorted(texts) == [f"test título {i}" for i in range(6)]


def test_tfds_names_and_features_that_are_not_there(make_tfds_config):
    config = make_tfds_config("Wrong", {"train": 4})
    config.data.columns.text = "caption"
    with pytest.raises(ValueError, match="no column 'caption'.*columns.text"):
        load_source(config)
    config.data.columns.text = "title"
    config.data.tfds.name = "no_such_pairs"
    with pytest.raises(ValueError, match="tfds.name='no_such_pairs'"):
        load_source(config)


@pytest.mark.parametrize(("limit", "groups"), [(899, 40), (900, 20)])
def test_the_limit_on_pixels_holds_for_manifest_groups(
    manifest_config, tmp_path, limit, groups
):
    lines = ["label,text,image"]
    for number in range(40):
        blocks = np.random.RandomState(number // 2).randint(0, 256, (5, 5, 3), np.uint8)
        pixels = blocks.repeat(6, 0).repeat(6, 1)
        pixels[0, 0, 0] ^= number % 2  # nearly equal
        image = tf.io.encode_png(pixels).numpy()
        (tmp_path / f"{number}.png").write_bytes(image)
        lines.append(f"{'cat' if number % 2 else 'dog'},a {number},{number}.png")
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    manifest_config.data.columns.image = "image"
    manifest_config.data.max_image_px = limit
    assert len(set(load_source(manifest_config).groups)) == groups


def test_a_manifest_is_previewed_and_counted(manifest_config, capsys):
    source = load_source(manifest_config)
    printed = capsys.readouterr().out
    counts = [len(source.get_indices(s)) for s in ("train", "validation", "test")]
    assert counts == [28, 6, 6]
    assert "pairs.csv, 40 rows, 2 classes. train 28" in printed
    assert printed.count("  row ") == 3
    assert "row 2: image none, text 'a 0 cats', label 'dog', split" in printed
    assert "  cat: 14 / 3 / 3 rows (train / validation / test)" in printed


def test_label_words_are_masked_after_the_split(manifest_config, capsys):
    plain = load_source(manifest_config)
    manifest_config.data.mask_label_words = True
    masked = load_source(manifest_config)
    assert list(masked.texts[:2]) == ["a 0", "a 1"]
    np.testing.assert_array_equal(plain.splits, masked.splits)
    assert "40 of 40 texts changed" in capsys.readouterr().out


def test_a_text_that_is_not_utf8_is_left_as_it_is(manifest_config, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_bytes(path.read_bytes().replace(b"a 0 cats", b"a \xff cats"))
    manifest_config.data.mask_label_words = True
    manifest_config.data.bad_rows = "mask"
    source = load_source(manifest_config)
    assert list(source.texts[:2]) == [b"a \xff cats", "a 1"]


def test_a_pattern_over_folders_has_no_one_folder_of_images(manifest_config, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        rows = [f"0.png,{name} {i},{'cat' if i % 2 else 'dog'}" for i in range(20)]
        (tmp_path / name / "p.csv").write_text("\n".join(["image,text,label", *rows]))
        (tmp_path / name / "0.png").write_bytes(name.encode())
    manifest_config.data.manifest = str(tmp_path / "?" / "p.csv")
    assert len(load_source(manifest_config)) == 40  # no image column
    manifest_config.data.columns.image = "image"
    with pytest.raises(ValueError, match="several folders, .*a/p.csv and .*b/p.csv"):
        load_source(manifest_config)


def test_records_say_which_captions_they_have(config):
    class Records:
        columns = {"image": "", "text": "", "captions": ["long", "short"], "id": "id"}

    config.data.records = "records"
    config.data.columns.id = "key"
    settings = make_settings(config.data, config.data, Records())
    assert settings.captions == ("long", "short")
    assert settings.columns["image"] == "" and settings.columns["id"] == "key"
    assert "captions" not in settings.columns


def test_a_modality_that_no_row_has(manifest_config):
    manifest_config.model.modalities = "image_text"
    with pytest.raises(ValueError, match="no row of pairs.csv has an image"):
        load_source(manifest_config)


def test_splits_of_the_user_need_training_rows_alone(manifest_config, tmp_path, capsys):
    path = tmp_path / "parts.csv"
    manifest_config.data.manifest = str(path)
    manifest_config.data.columns.split = "part"
    path.write_text("label,text,part\na,y,val\nb,z,test\n")
    with pytest.raises(ValueError, match="no rows in the split 'train'.*'part'"):
        load_source(manifest_config)
    path.write_text("label,text,part\na,y,train\nb,z,test\n")
    load_source(manifest_config)
    path.write_text("label,text,part\na,y,train\nb,z,val\n")
    load_source(manifest_config)
    printed = capsys.readouterr().out
    assert "train 1, validation 1, test 0." in printed
    assert "Warning: no training row is of b." in printed


def test_too_few_groups_for_an_automatic_split(manifest_config, tmp_path):
    path = tmp_path / "photos.csv"
    manifest_config.data.manifest = str(path)
    rows = [f"{'ab'[i % 2]},{'photo' if i else 'one cat'}" for i in range(40)]
    path.write_text("\n".join(["label,text", *rows]))
    with pytest.raises(ValueError) as error:
        load_source(manifest_config)
    message = str(error.value)
    assert "automatic split of photos.csv" in message and "empty" in message
    assert "40 rows are 2 groups" in message
    assert "set config.data.columns.split to it" in message
