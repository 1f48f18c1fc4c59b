"""What a run of COYO's size costs, on paper."""

import pathlib

import pytest

from benchmarks import scaling_cost

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "scaling.md"


def test_cost_follows_from_its_figures():
    half, whole = (scaling_cost.compute_cost(a, 10, 32) for a in (0.5, 1.0))
    assert whole.storage_tb == pytest.approx(747e6 * 25e3 / 1e12)
    assert half.gpu_hours == pytest.approx(whole.gpu_hours / 2)
    assert half.read_gb_s == whole.read_gb_s
    # BERT base over 64 tokens: 6 operations a weight of its layers and token, plus
    # attention; 28.7 GFLOP a pair were counted for 6 layers of 384.
    small = scaling_cost.count_encoder_flops(6, 384, 64)
    assert small / 1e9 == pytest.approx(28.7 - 24.3 - 0.25, rel=0.05)
    rate = scaling_cost.compute_pairs_per_second()
    assert rate < 17400 / 8  # slower than ResNet50 alone
    assert whole.gpu_hours == pytest.approx(10 * 747e6 / rate / 3600)
    assert whole.days == pytest.approx(whole.gpu_hours / 32 / 24)


def test_the_page_shows_the_tables_of_the_program():
    page = PAGE.read_text(encoding="utf-8")
    assert scaling_cost.format_tables(epochs=10, gpus=32) in page
