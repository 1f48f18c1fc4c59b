"""Parts of a split: which there are, how bad, and how sure that is."""

import csv
import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from tf_multimodal import config as config_lib
from tf_multimodal.evaluation.report import slice_columns
from tf_multimodal.evaluation.report.collect import collect
from tf_multimodal.evaluation.report.slice_columns import cut_at_quantiles, make_bins
from tf_multimodal.evaluation.report.slices import find_script, make_slices
from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run


def make_split(make_collected, correct, **changes):
    """Returns rows of label 0 that are right where `correct` is True."""
    high = np.where(correct, 0.8, 0.3)
    probabilities = np.stack([high, 1 - high], axis=1)
    return make_collected(np.zeros(len(high), int), probabilities, **changes)


def find_row(section, by, name):
    (row,) = [r for r in section["rows"] if (r["by"], r["name"]) == (by, name)]
    return row


def list_names(section, by):
    return {row["name"] for row in section["rows"] if row["by"] == by}


def test_the_worst_slice_comes_first_and_survives(make_collected):
    texts = ["one"] * 100 + ["one_two"] * 100 + ["one two three four"] * 100
    correct = np.arange(300) % 10 < np.repeat([9, 4, 8], 100)
    section = make_slices(make_split(make_collected, correct, texts=texts))
    first = section["rows"][0]
    assert (first["by"], first["name"]) == ("text length", "2 words")
    assert (first["count"], first["accuracy"]) == (100, 0.4)
    assert first["difference"] == pytest.approx(0.4 - 0.85)
    assert first["survives"] and first["p_value"] < 1e-6
    assert list_names(section, "text length") == {"1 word", "2 words", "4 words"}
    accuracies = [row["accuracy"] for row in section["rows"]]
    assert accuracies == sorted(accuracies)
    assert section["looked_at"] == len(section["rows"])
    assert section["accuracy"] == pytest.approx(0.7) and section["count"] == 300


def test_intervals_are_wilsons_and_newcombes(make_collected):
    # Newcombe 1998, table II, row (a): 56 of 70 against 48 of 80.
    correct = np.array([True] * 56 + [False] * 14 + [True] * 48 + [False] * 32)
    texts = ["one"] * 70 + ["one two"] * 80
    section = make_slices(make_split(make_collected, correct, texts=texts))
    row = find_row(section, "text length", "1 word")
    wilson = stats.binomtest(56, 70).proportion_ci(method="wilson")
    assert row["interval"] == pytest.approx(list(wilson), abs=1e-6)
    assert row["difference"] == pytest.approx(0.2)
    assert row["difference_interval"] == pytest.approx([0.0524, 0.3339], abs=1e-4)
    table = [[56, 14], [48, 32]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert row["p_value"] == pytest.approx(expected)


def test_rows_of_a_group_count_as_one(make_collected):
    correct = np.repeat(np.arange(50) % 3 > 0, 4)
    texts = ["one", "one two"] * 100
    groups = np.repeat(np.arange(50), 4).astype(str).astype(object)
    alone = make_slices(make_split(make_collected, correct, texts=texts))
    grouped = make_slices(
        make_split(make_collected, correct, texts=texts, groups=groups)
    )
    wilson = stats.binomtest(33, 50).proportion_ci(method="wilson")
    row = find_row(grouped, "text length", "1 word")
    assert row["count"] == 100 and row["accuracy"] == pytest.approx(33 / 50)
    # 50 groups of two rows each are fifty observations.
    assert row["interval"] == pytest.approx(list(wilson), abs=1e-6)
    narrow = find_row(alone, "text length", "1 word")["interval"]
    assert narrow[1] - narrow[0] < 0.8 * (wilson[1] - wilson[0])


def test_weights_count_and_rows_without_are_not_there(make_collected):
    correct = np.array([True, False] * 20 + [True] * 40 + [False] * 40)
    texts = ["one"] * 40 + ["one two"] * 80
    weights = np.array([3, 1] * 20 + [1] * 40 + [0] * 40, np.float32)
    section = make_slices(
        make_split(make_collected, correct, texts=texts, weights=weights)
    )
    row = find_row(section, "text length", "1 word")
    assert row["accuracy"] == 0.75 and section["count"] == 80
    assert row["difference"] == pytest.approx(-0.25)
    wilson = stats.binomtest(24, 32).proportion_ci(method="wilson")  # 80^2 / 200 = 32
    assert row["interval"] == pytest.approx(list(wilson), abs=1e-6)


def test_chance_alone_does_not_survive(make_collected):
    survived = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        texts = ["word " * n for n in rng.integers(1, 9, 400)]
        sizes = rng.integers(20, 200, (400, 2))
        correct = rng.random(400) < 0.7
        section = make_slices(
            make_split(make_collected, correct, texts=texts, sizes=sizes)
        )
        assert section["looked_at"] > 10
        survived += any(row["survives"] for row in section["rows"])
    assert survived <= 3  # 5 % of 20 is one


def test_small_slices_are_left_out_and_counted(make_collected):
    texts = ["a few words"] * 91 + ["猫"] * 9
    section = make_slices(make_split(make_collected, np.ones(100), texts=texts))
    # Latin and Chinese characters: what is small, and what leaves as little.
    assert section["rows"] == [] and section["too_small"] == 2
    assert "no two parts" in section["notes"][0]


def test_all_ways_to_cut(make_collected):
    rows = 120
    texts = ["some words", "слова", "", "言葉です"] * 30
    sizes = np.array([(100, 200), (120, 110), (0, 0)] * 40)
    status = np.array(["ok", "undecodable_image"] * 60, object)
    section = make_slices(
        make_split(
            make_collected, np.ones(rows), texts=texts, sizes=sizes, status=status
        )
    )
    assert list_names(section, "script") == {"Latin", "Cyrillic", "Japanese"}
    assert list_names(section, "aspect") == {"narrower than 3:4", "3:4 to 4:3"}
    assert list_names(section, "image size") == {
        "100 pixels on the shorter side",
        "110 pixels on the shorter side",
    }
    assert list_names(section, "status") == {"ok", "undecodable_image"}
    # Every fourth row has no text, every third no image; every other's does not decode.
    expected = {"text without image": 70, "image and text": 20}
    expected |= {"image without text": 20, "neither": 10}
    found = {r["name"]: r["count"] for r in section["rows"] if r["by"] == "input"}
    assert found == expected


def test_what_the_model_does_not_read_makes_no_slices(make_collected):
    texts, sizes = ["a", "a b"] * 20, np.array([(10, 20), (90, 30)] * 20)
    by = {}
    for modalities in ("image", "text"):
        section = make_slices(
            make_split(
                make_collected,
                np.ones(40),
                texts=texts,
                sizes=sizes,
                modalities=modalities,
            )
        )
        by[modalities] = {row["by"] for row in section["rows"]}
    assert by == {"image": {"image size", "aspect"}, "text": {"text length"}}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a Latin word, да", "Latin"),
        ("два слова ok", "Cyrillic"),
        ("漢字", "Chinese characters"),
        ("漢字とかな", "Japanese"),
        ("한국어", "Hangul"),
        ("العربية", "Arabic"),
        ("हिन्दी", "Devanagari"),
        ("42 + 🎉", ""),
        ("", ""),
    ],
)
def test_the_script_of_a_text(text, script):
    assert find_script(text) == script


def test_quantiles_hold_about_as_many_each():
    values = np.append(np.random.default_rng(0).lognormal(3, 1, 1000), np.nan)
    codes, names = cut_at_quantiles(values, 4, "pixels")
    counts = np.bincount(codes[:-1])
    assert codes[-1] == -1 and len(names) == 4 and counts == pytest.approx(250, abs=2)
    assert names[0].endswith("pixels")
    assert cut_at_quantiles(np.array([5.0, 5.0, np.nan]), 4, "") is None
    # Most are one value: it has a bin, and what is more has one.
    codes, names = cut_at_quantiles(np.array([1.0] * 90 + [2, 3]), 4, "words")
    assert names == ["1 word", "2 to 3 words"] and np.bincount(codes).tolist() == [
        90,
        2,
    ]


def test_columns_of_few_values_and_of_numbers_are_cut():
    codes, names = make_bins(np.array(["b", "", "a", None, "b"], object))
    assert names == ["(empty)", "a", "b"] and codes.tolist() == [2, 0, 1, -1, 2]
    numbers = np.array([str(i / 2) for i in range(100)] + ["", None], object)
    codes, names = make_bins(numbers)
    assert names[0] == "0 to 12" and codes[-2:].tolist() == [-1, -1]
    assert np.bincount(codes[:100]).tolist() == [25, 25, 25, 25]
    assert make_bins(np.array([f"title {i}" for i in range(100)], object)) is None
    assert make_bins(np.array(["same"] * 9, object)) is None


class TestColumns:
    """Columns of the manifest that training made no use of."""

    @pytest.fixture
    def read_split(self, make_collected, tmp_path):
        """Writes a manifest of 40 rows, and returns a split of those of `index`."""

        def read(header, cells, ids, suffix="csv", **columns):
            path = tmp_path / f"pairs.{suffix}"
            with open(path, "w", encoding="utf-8", newline="") as file:
                if suffix == "csv":
                    csv.writer(file).writerows([header, *cells])
                else:
                    rows = (dict(zip(header, row, strict=True)) for row in cells)
                    file.writelines(json.dumps(row) + "\n" for row in rows)
            config = config_lib.get_default_config()
            config.data.manifest = str(path)
            for role, column in columns.items():
                config.data.columns[role] = column
            collected = make_split(make_collected, np.arange(len(ids)) % 2 == 0)
            collected.predictor.config = config
            names = np.array(ids, object)
            source = dataclasses.replace(collected.source, ids=names)
            return dataclasses.replace(collected, source=source)

        return read

    HEADER = ("id", "image", "text", "label", "colour", "year", "title")

    def make_cells(self):
        return [
            (f"i{i}", f"{i}.png", "t", "x", ("red", "blue")[i % 2], 1900 + i, f"T {i}")
            for i in range(60)
        ]

    @pytest.mark.parametrize("suffix", ["csv", "jsonl"])
    def test_are_found_by_id(self, read_split, suffix):
        ids = [f"i{i}" for i in reversed(range(40))]
        split = read_split(self.HEADER, self.make_cells(), ids, suffix, id="id")
        section = make_slices(split)
        assert section["columns"] == ["colour", "year"]
        red = find_row(section, "column colour", "red")
        # The last id, i39, comes first: blue rows are at the even places, and right.
        assert (red["count"], red["accuracy"]) == (20, 0)
        assert find_row(section, "column colour", "blue")["accuracy"] == 1
        years = list_names(section, "column year")
        assert len(years) == 4 and "1930 to 1939" in years
        assert "title." in section["notes"][-1]

    def test_are_found_by_line_where_there_is_no_id(self, read_split):
        ids = [str(line) for line in range(2, 42)]  # the header is line 1
        split = read_split(self.HEADER, self.make_cells(), ids, id="")
        row = find_row(make_slices(split), "column colour", "red")
        assert (row["count"], row["accuracy"]) == (20, 1)

    def test_that_lack_rows_are_said_to(self, read_split):
        ids = [f"i{i}" for i in range(30)] + [f"other {i}" for i in range(10)]
        section = make_slices(read_split(self.HEADER, self.make_cells(), ids, id="id"))
        assert find_row(section, "column colour", "red")["count"] == 15
        assert any("10 of 40 rows were not found" in note for note in section["notes"])

    def test_of_a_manifest_that_is_gone_are_said_to_be(self, read_split, tmp_path):
        split = read_split(self.HEADER, self.make_cells(), ["i0"] * 40, id="id")
        (tmp_path / "pairs.csv").unlink()
        section = make_slices(split)
        assert section["columns"] == []
        assert "cannot be read: There is no file" in section["notes"][-1]

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (pa.ArrowNotImplementedError("no such cast"), "no such cast"),
            (pa.ArrowInvalid("damaged"), "damaged"),
            (KeyError("colour"), "no column 'colour'"),
        ],
    )
    def test_that_cannot_be_read_leave_the_reason(
        self, read_split, monkeypatch, error, reason
    ):
        def fail(*_):
            raise error

        split = read_split(self.HEADER, self.make_cells(), ["i0"] * 40, id="id")
        monkeypatch.setattr(slice_columns, "open_reader", fail)
        section = make_slices(split)
        assert section["columns"] == [] and reason in section["notes"][-1]

    def test_of_hundreds_are_cut_up_to_a_bound(self, read_split):
        header = (*self.HEADER[:4], *(f"c{i}" for i in range(300)))
        cells = [
            (f"i{i}", f"{i}.png", "t", "x", *((i + c) % 20 for c in range(300)))
            for i in range(400)
        ]
        ids = [f"i{i}" for i in range(400)]
        section = make_slices(read_split(header, cells, ids, id="id"))
        assert section["columns"] == [f"c{i}" for i in range(9)]
        assert section["looked_at"] + section["too_small"] == 9 * 20
        assert section["notes"][-1].startswith("291 columns were left out, as no more")
        assert section["notes"][-1].endswith("c17, c18 and 281 more.")

    def test_of_several_files_are_kept_apart(self, read_split, tmp_path):
        half = self.make_cells()
        ids = [f"{name}.csv:{line}" for name in "ab" for line in range(2, 22)]
        split = read_split(self.HEADER, half, ids, id="", image="")
        for name, start in (("a", 0), ("b", 1)):
            with open(tmp_path / f"{name}.csv", "w", newline="") as file:
                csv.writer(file).writerows([self.HEADER, *half[start : start + 20]])
        split.predictor.config.data.manifest = str(tmp_path / "[ab].csv")
        row = find_row(make_slices(split), "column colour", "red")
        assert (row["count"], row["accuracy"]) == (20, 0.5)


def test_a_run_is_cut(multi_label_run):
    run = read_run(multi_label_run)
    collected = collect(
        Predictor.from_run(multi_label_run), load_run_source(run), "test"
    )
    section = make_slices(collected)
    assert section["count"] == 7 and section["rows"] == [] and section["too_small"] > 5
