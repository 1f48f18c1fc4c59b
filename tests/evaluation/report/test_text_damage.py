"""Texts are damaged as much as is said, in any script."""

import difflib

import numpy as np
import pytest

from tf_multimodal.evaluation.report import text_damage

TEXT = "a small red bird sings on the highest branch of an old tree"


def draw(seed=0):
    return np.random.default_rng(seed)


def test_typos_are_as_many_as_is_said():
    letters = sum(character.isalpha() for character in TEXT)
    for share in (0.05, 0.2, 0.5):
        edits = []
        for seed in range(30):
            found = text_damage.make_typos(TEXT, share, draw(seed))
            match = difflib.SequenceMatcher(None, TEXT, found, autojunk=False)
            same = sum(block.size for block in match.get_matching_blocks())
            edits.append(max(len(TEXT), len(found)) - same)
        assert np.mean(edits) == pytest.approx(share * letters, rel=0.25)


def test_all_kinds_of_typos_are_made():
    found = {text_damage.make_typos("ab", 0.5, draw(seed)) for seed in range(200)}
    assert {"a", "b", "aab", "abb", "ba"} < found
    replaced = [word for word in found - {"ba"} if len(word) == 2]
    assert len(replaced) > 20 and "ab" not in found


@pytest.mark.parametrize(
    "text", ["кот и собака", "猫が好き", "เด็ก", "12 + 3", "", " ", "é"]
)
def test_typos_of_any_script_stay_in_it(text):
    for seed in range(20):
        found = text_damage.make_typos(text, 0.3, draw(seed))
        assert set(found) <= set(text) | set(
            "abcdefghijklmnopqrstuvwxyz" * ("é" in text)
        )
        assert (found == text) == (
            not any(map(str.isalpha, text))
        ) or text == "猫が好き"


def test_dropped_words_leave_the_others_in_order():
    words = TEXT.split()
    for share, left in ((0.25, 10), (0.5, 7), (0.75, 3), (1, 1)):
        found = text_damage.drop_words(TEXT, share, draw()).split()
        assert len(found) == left
        rest = iter(words)
        assert all(word in rest for word in found)
    assert text_damage.drop_words("one", 0.75, draw()) == "one"
    assert text_damage.drop_words("", 0.75, draw()) == ""


def test_shuffled_words_are_the_same_in_another_order():
    for seed in range(20):
        found = text_damage.shuffle_words("red bird", draw(seed))
        assert found == "bird red"
    assert sorted(text_damage.shuffle_words(TEXT, draw()).split()) == sorted(
        TEXT.split()
    )
    assert text_damage.shuffle_words("one  ", draw()) == "one  "
    assert text_damage.shuffle_words("so so", draw()) == "so so"


def test_wrong_rows_are_of_another_label_and_have_a_text():
    labels = np.array([0, 0, 1, 1, 2])
    candidates = np.array([True, True, True, False, False])
    drawn = [
        text_damage.choose_wrong_rows(labels, candidates, draw(s)) for s in range(9)
    ]
    for rows in drawn:
        assert (labels[rows] != labels).all() and candidates[rows].all()
    assert len({tuple(rows) for rows in drawn}) > 3
    alone = text_damage.choose_wrong_rows(labels[:2], candidates[:2], draw())
    assert alone.tolist() == [-1, -1]


def test_wrong_rows_of_label_sets_share_no_label():
    sets = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    for seed in range(20):
        rows = text_damage.choose_wrong_rows(sets, np.ones(4, bool), draw(seed))
        assert rows[0] in (2, 3) and rows[1] in (2, 3)
        assert rows[2] in (0, 1, 3) and rows[3] in (0, 1, 2)


def test_the_levels_grow():
    for levels in text_damage.DAMAGES.values():
        shares = [level.share for level in levels]
        assert shares == sorted(shares)
        assert all(level.apply(TEXT, draw()) != TEXT for level in levels)
