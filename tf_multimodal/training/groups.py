"""Groups of variables by regular expression: which train, which are frozen."""

import math
import re
from typing import Any

import keras
import ml_collections

from tf_multimodal.models.image_text_classifier import ImageTextClassifier


def assign_groups(
    paths: dict[str, Any], groups: ml_collections.ConfigDict
) -> dict[str, str]:
    """Returns the name of the group of every variable path.

    Args:
        paths: variables by path, as `ImageTextClassifier.get_variable_paths`.
        groups: `config.train.groups`: name -> `pattern`, matched against the
            whole path, and `frozen`.

    Raises:
        ValueError: lists the paths that no group, or more than one, matches.
    """
    found: dict[str, str] = {}
    missing, several = [], []
    for path in paths:
        names = [n for n in groups if re.fullmatch(groups[n].pattern, path)]
        if len(names) == 1:
            found[path] = names[0]
        elif names:
            several.append(f"{path} ({', '.join(names)})")
        else:
            missing.append(path)
    if missing or several:
        raise ValueError(
            "config.train.groups must put each variable into exactly one group."
            + _list("In no group", missing)
            + _list("In more than one", several)
            + "\nPatterns: "
            + ", ".join(f"{n}={groups[n].pattern!r}" for n in groups)
        )
    return found


def freeze_groups(model: ImageTextClassifier, groups: ml_collections.ConfigDict) -> str:
    """Freezes the variables of frozen groups; returns a table of all groups.

    A layer all of whose variables are frozen is frozen as a layer, so that its
    BatchNorm runs in inference mode, and an encoder that is frozen as a whole
    also stops dropping out.

    Raises:
        ValueError: the groups do not cover each variable exactly once, or
            nothing is left to train.
    """
    paths = model.get_variable_paths()
    names = assign_groups(paths, groups)
    frozen = {id(v) for path, v in paths.items() if groups[names[path]].frozen}
    for layer in model._flatten_layers(include_self=False):
        own = layer._trainable_variables
        if own and all(id(v) in frozen for v in own):
            layer.trainable = False
        for variable in own:
            if id(variable) in frozen:
                variable.trainable = False
    for branch in (model.backbone.image_branch, model.backbone.text_branch):
        if branch is not None and not branch.trainable_variables:
            branch.trainable = False
    if not model.trainable_variables:
        raise ValueError(
            "Every group of config.train.groups is frozen: nothing is left to "
            "train. Set config.train.groups.NAME.frozen=False for one of them."
        )
    return _make_table(paths, names, groups)


def _make_table(
    paths: dict[str, keras.Variable],
    names: dict[str, str],
    groups: ml_collections.ConfigDict,
) -> str:
    lines = [f"{'group':<16}{'variables':>10}{'parameters':>13}  trained  pattern"]
    for name in groups:
        own = [paths[path] for path in paths if names[path] == name]
        if not own:
            continue
        count = sum(math.prod(v.shape) for v in own)
        trained = "no" if groups[name].frozen else "yes"
        lines.append(
            f"{name:<16}{len(own):>10}{count:>13,}  {trained:<7}  "
            f"{groups[name].pattern}"
        )
    return "\n".join(lines)


def _list(title: str, paths: list[str], most: int = 20) -> str:
    if not paths:
        return ""
    more = f"\n  … and {len(paths) - most} more" if len(paths) > most else ""
    return f"\n{title}:\n  " + "\n  ".join(paths[:most]) + more
