"""A preset from a stranger is refused, and nothing in it runs."""

import base64
import json
import marshal
import pathlib
import pickle

import keras
import numpy as np
import pytest
from keras.src.saving.serialization_lib import SafeModeScope

from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.safe_preset import UnsafePresetError, check_preset
from tf_multimodal.models.image_text_classifier import ImageTextClassifier

ENCODER = ("config", "backbone", "config", "image_encoder")
PLACES = (
    ("config.json", ()),
    ("config.json", ("config", "image_encoder")),
    ("config.json", ("config", "text_encoder")),
    ("task.json", ()),
    ("task.json", ("compile_config",)),
    ("task.json", ENCODER),
    ("task.json", ("config", "preprocessor", "config", "tokenizer")),
    ("preprocessor.json", ()),
    ("tokenizer.json", ("config", "vocabulary")),
    ("image_converter.json", ("config", "scale")),
)


@pytest.fixture
def marker(tmp_path, monkeypatch) -> pathlib.Path:
    """A file that is there once code of the preset has run."""
    path = tmp_path / "it ran"
    monkeypatch.setenv("MARKER", str(path))
    return path


def touch_marker(x):
    import os
    import pathlib

    pathlib.Path(os.environ["MARKER"]).touch()
    return x


def make_lambda() -> dict:
    """Returns a network whose only layer holds code, as Keras itself writes it."""
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Lambda(abs)])
    config = keras.saving.serialize_keras_object(network)
    code = base64.b64encode(marshal.dumps(touch_marker.__code__)).decode()
    values = {"code": code, "defaults": None, "closure": None}
    function = {"class_name": "__lambda__", "config": values | {"value": code}}
    config["config"]["layers"][-1]["config"]["function"] = function
    return config


def make_entry(module: str, name: str, config) -> dict:
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": name,
    }


PAYLOADS = {
    "a lambda layer": make_lambda(),
    "os.system": make_entry("os", "system", {"command": 'touch "$MARKER"'}),
    "os.system as a function": make_entry("os", "function", "system"),
    "builtins": make_entry("builtins", "exec", {"source": "open('it ran', 'w')"}),
    "subprocess": make_entry("subprocess", "Popen", {"args": ["touch", "it ran"]}),
    "a function of Keras": make_entry(
        "keras.src.utils.python_utils", "function", "func_load"
    ),
    "a layer that loads code": make_entry(
        "keras.layers", "TFSMLayer", {"filepath": "somewhere"}
    ),
    "a registered name": {
        **make_entry("tf_multimodal.models", "Encoder", {}),
        "registered_name": "keras>Lambda",
    },
    "a type": {"class_name": "__typespec__", "module": "os", "spec_name": "system"}
    | {"config": ["true"], "registered_name": None},
}


def put(folder: pathlib.Path, file: str, keys: tuple[str, ...], payload: dict) -> None:
    path = folder / file
    content = json.loads(path.read_text())
    entry = content
    for key in keys[:-1]:
        entry = entry[key]
    if keys:
        entry[keys[-1]] = payload
    path.write_text(json.dumps(content if keys else payload))


def test_presets_of_our_own_pass(small_run, image_run):
    check_preset(small_run / "best")
    check_preset(image_run / "best")


def test_an_activation_and_a_network_of_keras_pass(run_copy):
    inputs = keras.Input((16, 16, 3))
    network = keras.Model(inputs, keras.ops.relu(keras.layers.Dense(2)(inputs)))
    activation = keras.saving.serialize_keras_object(keras.activations.relu)
    put(
        run_copy / "best",
        "config.json",
        ("config", "image_encoder"),
        keras.saving.serialize_keras_object(network),
    )
    put(run_copy / "best", "config.json", ("config", "activation"), activation)
    check_preset(run_copy / "best")


@pytest.mark.parametrize("name", PAYLOADS)
def test_code_is_refused_wherever_it_is_named(run_copy, marker, name):
    for file, keys in PLACES:
        path = run_copy / "best" / file
        before = path.read_text()
        put(run_copy / "best", file, keys, PAYLOADS[name])
        with pytest.raises(UnsafePresetError) as error:
            Predictor.from_run(run_copy)
        assert str(path) in str(error.value)
        assert ".".join(keys) in str(error.value)
        path.write_text(before)
    assert not marker.exists()


def test_keras_may_be_told_to_run_code(run_copy, marker):
    """Without safe mode Keras runs the lambda; the check comes before it."""
    put(run_copy / "best", "task.json", ENCODER, PAYLOADS["a lambda layer"])
    with SafeModeScope(safe_mode=False):
        with pytest.raises(UnsafePresetError, match="Lambda"):
            Predictor.from_run(run_copy)
        assert not marker.exists()
        with pytest.raises((ValueError, TypeError)):
            ImageTextClassifier.from_preset(str(run_copy / "best"))
    assert marker.exists()


@pytest.mark.parametrize("name", PAYLOADS)
def test_kerass_safe_mode_stays_on(run_copy, marker, name):
    """Who loads a preset without a run is protected by Keras."""
    put(run_copy / "best", "task.json", ENCODER, PAYLOADS[name])
    with pytest.raises((ValueError, TypeError)):
        ImageTextClassifier.from_preset(str(run_copy / "best"))
    assert not marker.exists()


class Trap:
    def __reduce__(self):
        return touch_marker, (None,)


@pytest.mark.parametrize("file", ["model.weights.h5", "task.weights.h5"])
@pytest.mark.parametrize("kind", ["pickle", "npz"])
def test_pickled_weights_are_refused(run_copy, marker, file, kind):
    with (run_copy / "best" / file).open("wb") as stream:
        if kind == "pickle":
            pickle.dump(Trap(), stream)
        else:
            np.savez(stream, weights=np.array([Trap()], object))
    with pytest.raises((ValueError, OSError)):
        Predictor.from_run(run_copy)
    assert not marker.exists()


def test_a_file_that_is_no_json_is_named(run_copy):
    (run_copy / "best" / "task.json").write_text("{")
    with pytest.raises(UnsafePresetError, match="task.json is not a JSON file"):
        check_preset(run_copy / "best")
