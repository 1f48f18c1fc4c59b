import pathlib
import re

import pyarrow as pa
import pytest
from coyo_tables import METADATA, make_row

from tf_multimodal.datasets.coyo import class_rules
from tf_multimodal.datasets.coyo.class_rules import NO_CLASS, SEVERAL_CLASSES
from tf_multimodal.datasets.coyo.recipe import ClassRule, read_recipe
from tf_multimodal.datasets.coyo.row_filter import list_columns, parse_condition

ROOT = pathlib.Path(__file__).parents[2]
RULES = (
    ClassRule("dog", keywords=("dog", "golden retriever")),
    ClassRule("cat", keywords=("cat", "кошка", "c++")),
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("clip_similarity_vitb32 > 0.3 and nsfw_score_opennsfw2 < 0.1", [0, 1]),
        ("width >= 200", [0, 1, 2]),
        ("300 < width <= 600", [0, 2]),
        ("width / height > 1.5", [2]),
        ("height / num_faces < 300", [1]),
        ("not (num_faces > 0 or width < 300)", [0, 2]),
        ("num_faces != 3 - 1", [0, 2]),
        ("width * 10000000 + height > 5000000000", [2]),
        ("text == 'one' or word_count in [7, 9]", [0, 2]),
        ("word_count not in (7, 9)", [0, 1]),
        ("watermark_score > -1", [0, 1, 2]),
        ("-width < -250 and +width > 300", [0, 2]),
        ("-(width + height) > -600", [1]),
        ("not (word_count in [7])", [0, 1]),
        ("not (word_count not in [7])", [2]),
        ("(word_count in [7]) == False", [0, 1]),
        ("aesthetic_score_laion_v2 != 1", [0, 1, 2]),
        ("not (aesthetic_score_laion_v2 > 1)", [0, 1, 2]),
        ("not (aesthetic_score_laion_v2 in [1])", [0, 1, 2]),
        ("not (num_faces / num_faces > 1)", [1]),
    ],
)
def test_conditions(condition, expected):
    rows = [
        make_row(0, "one", word_count=5),
        make_row(1, "two", num_faces=2, width=250),
        make_row(2, "three", width=600, word_count=7, clip_similarity_vitb32=0.2),
    ]
    # Empty cells meet no condition, nor its opposite.
    rows.append({"id": 3, "aesthetic_score_laion_v2": float("nan")})
    table = pa.Table.from_pylist(rows, METADATA)
    kept = table.filter(parse_condition(condition, METADATA))
    assert kept["id"].to_pylist() == expected
    assert set(list_columns(condition)) <= set(METADATA.names)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("clip_similarity > 0.3", "Did you mean 'clip_similarity_vit"),
        ("width >", "is no condition on a row: invalid syntax"),
        ("width > 'a'", "is no condition on a row"),
        ("width", "is no condition on a row"),
        ("__import__('os').system('true') > 0", "not of the language"),
        ("text.upper() == 'A'", "not of the language"),
        ("width ** 9 > 1", "not of the language"),
        ("width in 3", "`3` is no list of numbers or texts"),
        ("width in height", "`height` is no list of numbers or texts"),
        ("width in [1, height]", r"`\[1, height\]` is no list of numbers or texts"),
        ("text in ['x', None]", r"`\['x', None\]` is no list of numbers or texts"),
        ("width in [1, 'x']", "is no condition on a row: Could not convert 'x'"),
        ("width > 99999999999999999999", "is no condition on a row: .*too"),
        ("width is None", "compared in a way not known"),
    ],
)
def test_what_is_no_condition(condition, message):
    with pytest.raises(ValueError, match=message):
        parse_condition(condition, METADATA)


def test_keywords_are_whole_words_in_any_case_and_script():
    texts = {
        "DOG!": 0,
        "my dog": 0,
        "dogma": NO_CLASS,
        "hotdog": NO_CLASS,
        "Golden  Retriever pups": 0,
        "golden": NO_CLASS,
        "КОШКА спит": 1,
        "кошками": NO_CLASS,
        "c++ (book)": 1,
        "cat/dog": SEVERAL_CLASSES,
        "": NO_CLASS,
        None: NO_CLASS,
    }
    found = class_rules.classify_texts(pa.chunked_array([list(texts)]), RULES)
    assert dict(zip(texts, found.tolist(), strict=True)) == texts


def test_mask_takes_every_keyword_out():
    texts = pa.chunked_array([["dog dog, Dog dog", "a cat and a hotdog", "  as is "]])
    masked = class_rules.mask_keywords(texts, RULES).to_pylist()
    assert masked == [",", "a and a hotdog", "as is"]


def test_most_likely_class_of_labels():
    rules = (ClassRule("dog", label_ids=(7, 8)), ClassRule("cat", label_ids=(3,)))
    labels = pa.chunked_array([[[9, 9]], [[3, 8, 1], [7, 3], [], None, [8]]])
    probs = pa.chunked_array(
        [[[1.0, 1.0]], [[0.5, 0.6, 0.9], [0.2, 0.3], [], None, [0.25]]]
    )
    labels, probs = labels.slice(1), probs.slice(1)
    found = class_rules.classify_labels(labels, probs, rules, 0.25)
    assert found.tolist() == [0, 1, NO_CLASS, NO_CLASS, 0]
    with pytest.raises(ValueError, match="more labels than probabilities"):
        class_rules.classify_labels(labels, labels.slice(1), rules, 0.25)


def test_script_of_the_letters():
    texts = pa.chunked_array([["Kaffee, 2 Stück", "猫がいる", "ab вг", "12 !", None]])
    assert class_rules.has_script(texts, ["Latin"], 0.9).tolist() == [
        *(True, False, False, False, False)
    ]
    found = class_rules.has_script(texts, ["Han", "Hiragana"], 1.0)
    assert found.tolist() == [False, True, False, False, False]
    assert class_rules.has_script(texts, ["Latin"], 0.5).tolist()[2]
    with pytest.raises(ValueError, match="Received: Elvish"):
        class_rules.has_script(texts, ["Elvish"], 0.9)


def test_recipe_is_read(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "per_class: 3\nwhere: [width > 1]\nsplit_fractions: [0.8, 0.1, 0.1]\n"
        "classes:\n  犬: {label_ids: [n02084071, 5]}\n  cat: {label_ids: [2]}\n",
        encoding="utf-8",
    )
    recipe = read_recipe(path, ["n00000001", "n02084071"])
    assert recipe.classes == (
        ClassRule("犬", label_ids=(1, 5)),
        ClassRule("cat", label_ids=(2,)),
    )
    assert (recipe.where, recipe.per_class) == (("width > 1",), 3)
    assert recipe.split_fractions == (0.8, 0.1, 0.1)


GOOD = "per_class: 3\nclasses: {a: {keywords: [a]}, b: {keywords: [b]}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [", "is no YAML file: line 1, column 11: expected the node"),
        ("a: \x00", "is no YAML file"),
        ("? [1]\n: 2", "found unhashable key"),
        (GOOD.replace("keywords: [b]", "label_ids: [[1]]"), "[1] is neither"),
        ("- a", "must map keys to values"),
        ("per_class: 3", "'classes' is missing"),
        (GOOD + "wher: [a > 1]", "no key 'wher'. Did you mean 'where'"),
        (GOOD + "per_class: 4", "stands twice"),
        (GOOD + "where: width > 1", "'where' must be a list of texts"),
        (GOOD + "scripts: [1]", "'scripts' must be a list of texts"),
        (GOOD + "split_fractions: [0.5, 0.5]", "add up to 1"),
        (GOOD + "seed: -1", "'seed' must be a number"),
        (GOOD + "script_share: 2", "'script_share' must be a number"),
        ("per_class: few\n" + GOOD.splitlines()[1], "'per_class' must be a number"),
        ("per_class: 1\nclasses: {a: {keywords: [a]}}", "two class names or more"),
        (GOOD.replace("b:", "no:"), "must be a line of text. Received: False"),
        (GOOD.replace("b:", "a:"), "the key 'a' stands twice"),
        (GOOD.replace("[b]", "['!']"), "no word in '!'"),
        (GOOD.replace("[b]", "[]"), "a list 'keywords' or a list 'label_ids'"),
        (GOOD.replace("keywords: [b]", "words: [b]"), "Did you mean 'keywords'"),
        (GOOD.replace("keywords: [b]", "label_ids: [1]"), "all classes need"),
        (GOOD.replace("keywords: [b]", "label_ids: [n1]"), "'n1' is neither"),
        (GOOD.replace("keywords", "label_ids").replace("[a]", "[1]"), "'b' is neither"),
        (
            "per_class: 1\nclasses: {a: {label_ids: [1]}, b: {label_ids: [1]}}",
            "the label 1 stands in 'label_ids' twice",
        ),
    ],
)
def test_mistakes_in_a_recipe_are_named(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_recipe(path)
    assert "recipe.yaml" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_label_names_are_not_searched_for_each_label(tmp_path):
    path = tmp_path / "recipe.yaml"
    names = LabelNames(f"n{i}" for i in range(300))
    rules = [f"  {name}: {{label_ids: [{name}]}}\n" for name in names]
    path.write_text("per_class: 1\nclasses:\n" + "".join(rules))
    recipe = read_recipe(path, names)
    assert [rule.label_ids for rule in recipe.classes] == [(i,) for i in range(300)]


class LabelNames(list):
    """Names that may be looked at one after the other, but not searched."""

    def __contains__(self, name):
        raise AssertionError("the names are searched for each label")

    index = __contains__


def test_the_recipe_that_comes_with_the_project_is_good():
    recipe = read_recipe(ROOT / "configs" / "coyo.yaml")
    assert len(recipe.classes) == 10
    for condition in recipe.where:
        parse_condition(condition, METADATA)
