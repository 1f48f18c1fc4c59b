"""Settings: locked, checked, and stored without loss."""

import importlib
import json

import pytest

from tf_multimodal import config as config_lib
from tf_multimodal.data import spec


@pytest.mark.parametrize("name", ["openclipart", "paper", "manifest", "tiny"])
def test_configs_are_valid_and_survive_storage(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    if name == "manifest":
        with pytest.raises(ValueError, match="exactly one source of rows"):
            config_lib.validate_config(config)
        config.data.manifest = "pairs.csv"
    config_lib.validate_config(config)
    stored = config_lib.from_json(config_lib.to_json(config))
    assert config_lib.list_differences(config, stored) == []
    assert stored.is_locked


def test_unknown_key_names_the_closest():
    config = config_lib.get_default_config()
    with pytest.raises(AttributeError, match="epochs"):
        config.train.epoch = 3
    text = config_lib.to_json(config).replace('"epochs"', '"epoch"')
    with pytest.raises(KeyError, match="epoch"):
        config_lib.from_json(text)


def test_groups_are_replaced_as_a_whole():
    config = config_lib.get_default_config()
    with config.unlocked():
        del config.train.groups["joint"], config.train.groups["head"]
        config.train.groups.rest = config.train.groups.image_encoder
    stored = config_lib.from_json(config_lib.to_json(config))
    assert set(stored.train.groups) == {"image_encoder", "text_encoder", "rest"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.fusion", "early"),
        ("train.warmup_fraction", 1.5),
        ("augment.drop_image", 0.95),
        ("data.split_fractions", (0.5, 0.5, 0.5)),
        ("train.batch_size", 0),
        ("data.max_image_px", 0),
        ("train.trackers", ("wandb", "neptune")),
    ],
)
def test_values_out_of_range_are_named(key, value):
    config = config_lib.get_default_config()
    config.data.manifest = "pairs.csv"
    config.update_from_flattened_dict({key: value})
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        config_lib.validate_config(config)


def test_the_limit_of_pixels_is_that_of_the_data():
    default = config_lib.get_default_config().data.max_image_px
    assert default == spec.MAX_IMAGE_PX


def test_differences_are_listed_by_key():
    old, new = config_lib.get_default_config(), config_lib.get_default_config()
    new.train.epochs = 7
    assert config_lib.list_differences(old, new) == ["train.epochs: 30 -> 7"]


def make_mixed_config():
    config = config_lib.get_default_config()
    config.data.mixture.own = config_lib.make_mixture_part(3, manifest="own.csv")
    config.data.mixture.web = config_lib.make_mixture_part(
        1, webdataset="web/*.tar", columns={"image": "jpg", "label": "json.label"}
    )
    return config


def test_a_mixture_is_stored_as_it_is():
    config = make_mixed_config()
    config_lib.validate_config(config)
    stored = config_lib.from_json(config_lib.to_json(config))
    assert config_lib.list_differences(config, stored) == []
    assert stored.data.mixture.web.columns.text == "text"
    stored.data.mixture.more = config_lib.make_mixture_part(1, folder="more")


def test_parts_of_a_mixture_have_known_keys():
    with pytest.raises((AttributeError, KeyError), match="manifests"):
        config_lib.make_mixture_part(1, manifests="own.csv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.manifest": "a.csv", "data.folder": "b"}, "exactly one source"),
        ({"data.mixture.own.folder": "b"}, "mixture.own must name exactly one"),
        ({"data.mixture.own.weight": 0.0}, "mixture.own.weight"),
        ({"data.folder": "b"}, "also: config.data.folder"),
        ({"data.text_template": "{a}"}, "also: config.data.text_template"),
        ({"data.columns.text": "a"}, "also: config.data.columns.text"),
        (
            {"data.mixture.own.text_template": "{a}"}
            | {"data.mixture.own.columns.captions": ("a", "b")},
            "own.columns.captions and .*own.text_template exclude",
        ),
        ({"data.service": "grpc://a:1", "deterministic": True}, "config.data.service"),
    ],
)
def test_sources_that_exclude_each_other_are_named(changes, message):
    is_single = "data.manifest" in changes
    config = config_lib.get_default_config() if is_single else make_mixed_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        config_lib.validate_config(config)


def test_keys_of_older_runs_have_their_new_names():
    config = config_lib.get_default_config()
    config.data.tfds.name = "shapes"
    values = json.loads(config_lib.to_json(config))
    data = values["data"]
    for key in set(data) - {"manifest", "tfds", "columns", "max_image_px"}:
        del data[key]
    data |= {"bad_images": "mask", "max_bad_fraction": 0.3}
    data["tfds"]["features"] = {"id": "key", "group": "cluster", "text": "title"}
    stored = config_lib.from_json(json.dumps(values)).data
    assert (stored.bad_rows, stored.max_drop_rate) == ("mask", 0.3)
    columns = stored.columns
    assert (columns.id, columns.group, columns.text) == ("key", "cluster", "title")
    data |= {"manifest": "pairs.csv", "bad_images": "drop", "max_bad_fraction": 0.3}
    data["tfds"]["features"] = {"id": "key"}
    assert config_lib.from_json(json.dumps(values)).data.columns.id == ""
