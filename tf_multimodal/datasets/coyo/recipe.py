"""What to choose from COYO-700M, read from a YAML file."""

import collections
import dataclasses
import difflib
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import yaml

from tf_multimodal.data import files

EXPECTED = "docs/coyo.md shows a complete recipe."


@dataclasses.dataclass(frozen=True)
class ClassRule:
    """What makes a row one of a class: words of its text, or machine-made labels."""

    name: str
    keywords: tuple[str, ...] = ()  # words or phrases
    without: tuple[str, ...] = ()  # words or phrases that exclude the row
    label_ids: tuple[int, ...] = ()  # of COYO-Labeled-300M


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A selection of rows.

    Attributes:
        classes: one rule each; all by keywords, or all by label ids.
        per_class: rows of a class, at most.
        where: conditions, as `row_filter.parse_condition` reads them.
        scripts: Unicode scripts, e.g. `Latin`; empty: any.
        script_share: of a text's letters that must be of the scripts, 0 to 1.
        min_label_prob: smallest probability of a machine-made label, 0 to 1.
        split_fractions: of train, validation and test; they add up to 1.
        seed: of the choice among a class's rows, and of the splits.
    """

    classes: tuple[ClassRule, ...]
    per_class: int
    where: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    script_share: float = 0.9
    min_label_prob: float = 0.5
    split_fractions: tuple[float, ...] = (0.7, 0.15, 0.15)
    seed: int = 0

    @property
    def needs_labels(self) -> bool:
        """Whether the classes come from COYO-Labeled-300M."""
        return bool(self.classes[0].label_ids)


def read_recipe(
    path: str | os.PathLike[str], label_names: Sequence[str] = ()
) -> Recipe:
    """Reads a recipe.

    Args:
        path: a YAML file.
        label_names: names of COYO-Labeled-300M's labels in their order, e.g. WordNet
            ids, by which `label_ids` may name them.

    Raises:
        ValueError: the file, the key, what was received and what is expected.
    """
    try:
        values = yaml.load(files.read_file(os.fspath(path)), _UniqueKeyLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = _describe_yaml_error(error)
        raise ValueError(f"{path} is no YAML file: {reason}. {EXPECTED}") from error
    label_ids = {name: i for i, name in reversed(list(enumerate(label_names)))}
    try:
        return _make_recipe(values, label_ids)
    except ValueError as error:
        raise ValueError(f"{path}: {error} {EXPECTED}") from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's own loader lets the last of two equal keys win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        known = set()
        for item, _ in node.value:
            key = self.construct_object(item, deep=True)
            if isinstance(key, Hashable):  # YAML's own loader refuses the others
                if key in known:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} stands twice", item.start_mark
                    )
                known.add(key)
        return super().construct_mapping(node, deep)


def _describe_yaml_error(error: Exception) -> str:
    """Returns the error, which YAML's parser spreads over several lines, as one."""
    reason = getattr(error, "problem", None) or error
    mark = getattr(error, "problem_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return place + " ".join(str(reason).split())


def _make_recipe(values: Any, label_ids: Mapping[str, int]) -> Recipe:
    _check_keys("the recipe", values, [f.name for f in dataclasses.fields(Recipe)])
    for key in ("classes", "per_class"):
        if key not in values:
            raise ValueError(f"the key {key!r} is missing.")
    classes = values["classes"]
    if not isinstance(classes, dict) or len(classes) < 2:
        raise ValueError("'classes' must map two class names or more to their rules.")
    values = values | {
        "classes": tuple(_make_rule(*item, label_ids) for item in classes.items()),
        **{key: _get_strings(values, key) for key in ("where", "scripts")},
    }
    if "split_fractions" in values:
        values["split_fractions"] = tuple(values["split_fractions"] or ())
    recipe = Recipe(**values)
    if len({bool(rule.label_ids) for rule in recipe.classes}) > 1:
        raise ValueError("all classes need 'keywords', or all of them 'label_ids'.")
    counts = collections.Counter(i for rule in recipe.classes for i in rule.label_ids)
    for label, count in counts.items():
        if count > 1:
            raise ValueError(f"the label {label} stands in 'label_ids' twice.")
    _check_numbers(recipe)
    return recipe


def _make_rule(name: Any, values: Any, label_ids: Mapping[str, int]) -> ClassRule:
    if not isinstance(name, str) or not name.strip() or len(name.splitlines()) > 1:
        raise ValueError(
            f"a class name must be a line of text. Received: {name!r} (YAML reads "
            "numbers, yes and no as such: put them in quotation marks)."
        )
    where = f"class {name!r}"
    _check_keys(where, values, ["keywords", "without", "label_ids"])
    keywords, without = (
        _get_strings(values, key, where) for key in ("keywords", "without")
    )
    ids = values.get("label_ids") or []
    if not isinstance(ids, list) or bool(keywords) == bool(ids):
        raise ValueError(f"{where} needs a list 'keywords' or a list 'label_ids'.")
    if without and not keywords:
        raise ValueError(f"{where}: 'without' goes with 'keywords'.")
    for phrase in (*keywords, *without):
        if not re.search(r"\w", phrase):
            raise ValueError(f"{where}: there is no word in {phrase!r}.")
    return ClassRule(
        name, keywords, without, tuple(_find_id(i, label_ids, where) for i in ids)
    )


def _find_id(value: Any, label_ids: Mapping[str, int], where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value in label_ids:
        return label_ids[value]
    raise ValueError(
        f"{where}: {value!r} is neither the number of a label nor one of the "
        f"{len(label_ids):,} names of --label_names."
    )


def _get_strings(values: dict, key: str, where: str = "the recipe") -> tuple[str, ...]:
    items = values.get(key) or []
    if not isinstance(items, list) or not all(isinstance(i, str) for i in items):
        raise ValueError(
            f"{where}: {key!r} must be a list of texts. Received: {items!r}"
        )
    return tuple(items)


def _check_keys(where: str, values: Any, known: list[str]) -> None:
    if not isinstance(values, dict):
        raise ValueError(
            f"{where} must map keys to values ({', '.join(known)}). Received: "
            f"{values!r}"
        )
    for key in values:
        if key not in known:
            closest = difflib.get_close_matches(str(key), known, 1, 0)[0]
            raise ValueError(f"{where}: no key {key!r}. Did you mean {closest!r}?")


def _check_numbers(recipe: Recipe) -> None:
    ranges: dict[str, tuple[type, float, float]] = {
        "per_class": (int, 1, float("inf")),
        "script_share": (float, 0, 1),
        "min_label_prob": (float, 0, 1),
        "seed": (int, 0, 2**32),
    }
    for key, (kind, low, high) in ranges.items():
        value = getattr(recipe, key)
        numbers = int if kind is int else (int, float)
        if not isinstance(value, numbers) or not low <= value <= high:
            raise ValueError(
                f"{key!r} must be a number from {low} to {high}. Received: {value!r}"
            )
    fractions = recipe.split_fractions
    if (
        len(fractions) != 3
        or not all(isinstance(f, int | float) and f > 0 for f in fractions)
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise ValueError(
            "'split_fractions' must be three positive numbers (train, validation, "
            f"test) that add up to 1. Received: {list(fractions)}"
        )
