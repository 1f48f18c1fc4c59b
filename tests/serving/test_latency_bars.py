"""The verdict of the latency benchmark, given times that are made up."""

import pytest

from benchmarks import serving


def make_times(whole, model, decode, folded=(1.0, 1.0, 1.0)):
    """Returns the times of both batch sizes, in milliseconds a turn."""
    by_name = {
        serving.WHOLE: list(whole),
        serving.MODEL: list(model),
        serving.FOLDED: list(folded),
        serving.DECODE: list(decode),
    }
    return {size: by_name for size in serving.BARS}


def test_a_ratio_is_taken_within_each_turn():
    # 1.0, 1.1 and 2.0 where turns are paired; a slow turn is slow in every row.
    times = make_times([10.0, 22.0, 80.0], [6.0, 12.0, 30.0], [4.0, 8.0, 10.0])
    lines, is_met = serving.judge(times)
    assert lines[0] == (
        "batch 1: whole / (bare model + bare decode) = 1.10 (1.05 to 1.55); "
        "bar 1.15: met"
    )
    assert lines[2].endswith("= 1.10 (1.05 to 1.55); bar 1.1: met")
    assert is_met


@pytest.mark.parametrize(
    ("whole", "verdicts"),
    [
        (10.9, ("met", "met")),
        (11.2, ("met", "NOT MET")),
        (11.6, ("NOT MET", "NOT MET")),
        (float("nan"), ("NOT MET", "NOT MET")),
    ],
)
def test_every_batch_size_has_its_bar(whole, verdicts):
    """Those that the documentation names: 1.15 for one row, 1.1 for 32."""
    lines, is_met = serving.judge(make_times([whole] * 3, [6.0] * 3, [4.0] * 3))
    first, _, last, _ = lines
    assert first.endswith(f"; bar 1.15: {verdicts[0]}") and "batch 1:" in first
    assert last.endswith(f"; bar 1.1: {verdicts[1]}") and "batch 32:" in last
    assert is_met == (verdicts == ("met", "met"))


def test_one_bar_missed_is_a_bar_missed():
    """Whichever it is, and by the median alone."""
    good = make_times([10.0, 10.0, 30.0], [6.0] * 3, [4.0] * 3)
    bad = make_times([10.0, 12.0, 12.0], [6.0] * 3, [4.0] * 3)
    assert serving.judge(good)[1]
    for size in serving.BARS:
        lines, is_met = serving.judge({**good, size: bad[size]})
        assert not is_met and str(lines).count("NOT MET") == 1


def test_the_folded_model_is_told_and_not_judged():
    lines, is_met = serving.judge(
        make_times([10.0] * 3, [6.0] * 3, [4.0] * 3, folded=[1.0] * 3)
    )
    assert lines[1] == "batch 1: whole / (tensors + bare decode) = 2.00 (2.00 to 2.00)"
    assert is_met


def test_times_are_a_table():
    times = make_times([1.0, 2.0, 3.0], [6.0] * 3, [4.0] * 3)
    assert serving.describe_times(times).splitlines()[:3] == [
        "|  | batch 1, ms (quartiles) | batch 32, ms (quartiles) |",
        "|---|---|---|",
        "| whole | 2.00 (1.50 to 2.50) | 2.00 (1.50 to 2.50) |",
    ]
