"""Refuses a preset that names code from elsewhere, before anything is built.

Keras itself refuses lambdas and classes that nobody registered, as long as its safe
mode is on. A process can turn that off; this check does not ask.
"""

import json
import pathlib
from typing import Any

PACKAGES = ("keras", "keras_hub", "tf_multimodal")
# Classes of Keras that carry code of their own, or load it.
CODE_CLASSES = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
# How Keras writes values that JSON does not have.
VALUES = (
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__bytes__",
    "__slice__",
    "__ellipsis__",
)


class UnsafePresetError(ValueError):
    """A preset names something that might run code; the message says where."""


def check_preset(folder: str | pathlib.Path) -> None:
    """Checks every class and function that a preset's JSON files name.

    Args:
        folder: the preset.

    Raises:
        UnsafePresetError: one is not of Keras, KerasHub or this project, or is a
            layer of Keras that carries code.
    """
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        try:
            _check_value(json.loads(path.read_text(encoding="utf-8")), path, "")
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnsafePresetError(f"{path} is not a JSON file: {error}") from error


def _check_value(value: Any, path: pathlib.Path, key: str) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_value(item, path, f"{key}[{number}]")
    if not isinstance(value, dict):
        return
    if "class_name" in value and not _is_safe(value):
        named = f"{value.get('module')}.{value['class_name']}"
        if value["class_name"] == "function":
            named = f"{value.get('module')}.{value.get('config')}"
        raise UnsafePresetError(
            f"{path} is refused: it names {named[:200]}, at {key or 'the top'}. "
            f"Expected classes of {', '.join(PACKAGES)} that carry no code of their "
            "own. Nothing of it was loaded; use a preset from a source you trust."
        )
    for name, item in value.items():
        _check_value(item, path, f"{key}.{name}" if key else name)


def _is_safe(entry: dict[str, Any]) -> bool:
    """Whether loading what `keras.saving` calls a serialized object runs no code."""
    name, module = str(entry["class_name"]), str(entry.get("module"))
    if name in VALUES:
        return True
    if name == "function":  # Keras looks such names up in its own functions alone
        return module == "builtins"
    names = (name, str(entry.get("registered_name")).rpartition(">")[2])
    return module.split(".")[0] in PACKAGES and not set(names) & set(CODE_CLASSES)
