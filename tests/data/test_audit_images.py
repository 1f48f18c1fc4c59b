import audit_samples
import numpy as np
import pytest

from tf_multimodal.data import duplicates
from tf_multimodal.data.audit import image_groups, images

LIMIT_PX = 200_000


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    source, names = audit_samples.make_troubled_source(folder)
    facts = images.measure_images(source, LIMIT_PX)
    findings = {f.kind: f for f in images.list_image_findings(source, facts)}
    return source, names, facts, findings


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("unreadable_image", ["gone"]),
        ("undecodable_image", ["broken", "not an image", "webp"]),
        ("image_too_large", ["too large"]),
        ("no_image", ["none"]),
        ("tiny_image", ["tiny"]),
        ("huge_image", []),
        ("extreme_aspect", ["wide"]),
        ("animated_image", ["animated", "webp"]),
        ("blank_image", ["blank"]),
    ],
)
def test_each_trouble_is_found_in_its_row_alone(audited, kind, expected):
    source, names, _, findings = audited
    finding = findings[kind]
    assert [names[index] for index in finding.indices] == expected
    assert finding.count == len(expected) == len(finding.rows)
    rows = [names.index(name) for name in expected]
    assert [row["row"] for row in finding.rows] == [row + 2 for row in rows]
    assert [row["id"] for row in finding.rows] == [f"r{row:03d}" for row in rows]


def test_findings_say_why(audited):
    notes = {kind: f.rows[0]["note"] for kind, f in audited[3].items() if f.count}
    assert "does not exist" in notes["unreadable_image"]
    assert "200000" in notes["image_too_large"]
    assert notes["tiny_image"] == "12 x 10 px"
    assert notes["extreme_aspect"] == "240 x 40 px"


def test_sizes_are_of_the_images_that_decode(audited):
    source, names, facts, _ = audited
    index = names.index("near")
    assert (facts.widths[index], facts.heights[index]) == (128, 96)
    assert facts.sizes[index] == len(source.images[index])
    assert facts.widths[names.index("broken")] == 0
    table = images.summarize_images(facts)["percentiles"]
    assert table["width (px)"]["largest"] == 240
    assert table["height (px)"]["smallest"] == 10
    statuses = images.summarize_images(facts)["statuses"]
    assert statuses == {
        "ok": 13,
        "missing_input": 1,
        "unreadable_image": 1,
        "undecodable_image": 3,
        "image_too_large": 1,
        "undecodable_text": 0,
    }


def test_huge_images_are_counted_by_their_pixels():
    source = audit_samples.make_source(["a", "b"], ["", ""])
    facts = images.measure_images(source, LIMIT_PX)
    facts.status[:] = "ok"
    facts.widths[:] = facts.heights[:] = [4000, 4001]
    found = {f.kind: f.count for f in images.list_image_findings(source, facts)}
    assert found["huge_image"] == 1


def test_progress_counts_every_row(audited, capsys):
    source = audit_samples.make_source(["", b"no image", ""], ["a", "b", "c"])
    images.measure_images(source, LIMIT_PX)
    assert "3/3" in capsys.readouterr().err


def test_groups_join_equal_and_nearly_equal_images(audited):
    source, names, facts, _ = audited
    summary = image_groups.summarize_groups(source, facts)
    assert (summary["groups"], summary["rows"]) == (1, 3)
    assert (summary["equal_groups"], summary["near_groups"]) == (0, 1)
    # Row by row train, validation, test; labels bird, cat, bird.
    assert summary["groups_across_splits"] == 1
    assert summary["held_out_rows_across_splits"] == 2
    assert summary["groups_with_several_labels"] == 1
    (group,) = summary["listed"]
    assert [names[index] for index in group["indices"]] == ["good", "equal", "near"]
    assert [row["split"] for row in group["rows"]] == ["train", "validation", "test"]


def test_groups_across_splits_come_first_and_equal_bytes_are_told_apart():
    one, two = (audit_samples.encode(audit_samples.make_pixels(i)) for i in (1, 2))
    source = audit_samples.make_source(
        [one, one, one, two, two],
        [""] * 5,
        labels=[0] * 5,
        splits=["train"] * 4 + ["test"],
    )
    summary = image_groups.summarize_groups(
        source, images.measure_images(source, LIMIT_PX)
    )
    assert [group["indices"] for group in summary["listed"]] == [[3, 4], [0, 1, 2]]
    assert [group["across_splits"] for group in summary["listed"]] == [True, False]
    assert (summary["equal_groups"], summary["near_groups"]) == (2, 0)
    assert summary["groups_with_several_labels"] == 0


def test_noise_of_a_blank_image_has_no_hash(audited):
    _, names, facts, _ = audited
    assert facts.is_blank[names.index("blank")]
    assert not facts.hashes[names.index("blank")].any()


def test_blank_images_that_differ_are_no_duplicates():
    shades = [np.full((40, 40, 3), shade, np.uint8) for shade in (0, 100, 200)]
    source = audit_samples.make_source(
        [audit_samples.encode(shade) for shade in shades], ["a", "b", "c"]
    )
    facts = images.measure_images(source, LIMIT_PX)
    assert facts.is_blank.all()
    assert not facts.hashes.any()
    assert image_groups.summarize_groups(source, facts)["groups"] == 0


def test_hashes_are_those_that_training_groups_by(audited):
    source, names, facts, _ = audited
    pixels = audit_samples.make_pixels(1)
    value = np.frombuffer(duplicates.compute_dhash(pixels), np.uint8)
    np.testing.assert_array_equal(facts.hashes[names.index("good")], value)
