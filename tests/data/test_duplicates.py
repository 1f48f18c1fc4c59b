import time

import numpy as np
import pytest

from tf_multimodal.data import duplicates


def flip_bits(value, *positions):
    bits = np.unpackbits(np.frombuffer(value, np.uint8))
    bits[list(positions)] ^= 1
    return np.packbits(bits).tobytes()


def make_hashes(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.bytes(16) for _ in range(count)]


def make_image(height=60, width=90, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    return np.kron(coarse, np.ones((height // 6, width // 9, 1), np.uint8))


def count_different_bits(a, b):
    return sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True))


def test_dhash_bits_are_left_to_right_then_top_to_bottom():
    ramp = np.tile(np.arange(0, 180, 2, dtype=np.uint8)[None, :, None], (40, 1, 3))
    assert duplicates.compute_dhash(ramp) == b"\xff" * 8 + b"\x00" * 8
    assert duplicates.compute_dhash(ramp.swapaxes(0, 1)) == b"\x00" * 8 + b"\xff" * 8


def test_dhash_survives_resizing_and_brightness_but_not_another_image():
    image = make_image()
    value = duplicates.compute_dhash(image)
    twice = duplicates.compute_dhash(np.kron(image, np.ones((2, 2, 1), np.uint8)))
    assert twice == value
    darker = duplicates.compute_dhash((image * 0.8).astype(np.uint8))
    assert count_different_bits(darker, value) <= 2
    other = duplicates.compute_dhash(make_image(seed=1))
    assert count_different_bits(other, value) > 20


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (256, 171)])
def test_dhash_of_one_colour_is_zero_at_any_size(size):
    image = np.full((*size, 3), 77, np.uint8)
    assert duplicates.compute_dhash(image) == bytes(16)


def test_equal_texts_and_close_images_chain_into_one_group():
    a, b, c = make_hashes(3)
    groups = duplicates.group_duplicates(
        ids=["z", "y", "x", "w", "v"],
        texts=["Red  car", "red CAR ", "boat", "house", "tree"],
        hashes=[a, b, flip_bits(b, 3, 100), c, None],
    )
    # z and y share a text, y and x an image.
    assert groups.dtype == object
    assert groups.tolist() == ["x", "x", "x", "w", "v"]


@pytest.mark.parametrize(("distance", "together"), [(2, True), (3, False)])
def test_distance_in_bits(distance, together):
    value = make_hashes(1)[0]
    # One bit in each band: the hardest case for the search in bands.
    hashes = [value, flip_bits(value, *[10, 60, 110][:distance])]
    groups = duplicates.group_duplicates(["a", "b"], ["s", "t"], hashes)
    assert (groups[0] == groups[1]) is together


def test_search_in_bands_finds_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(3)
    hashes = make_hashes(40)
    for _ in range(160):
        base = hashes[rng.integers(len(hashes))]
        hashes.append(flip_bits(base, *rng.choice(128, rng.integers(1, 5), False)))
    ids = [f"{i:03d}" for i in range(200)]
    expected = list(ids)
    for _ in range(200):  # spread the smallest id until nothing changes
        before = list(expected)
        for i in range(200):
            for j in range(200):
                if count_different_bits(hashes[i], hashes[j]) <= 2:
                    expected[i] = min(expected[i], expected[j])
        if before == expected:
            break
    assert 40 < len(set(expected)) < 200
    assert duplicates.group_duplicates(ids, ids, hashes).tolist() == expected


def test_missing_texts_and_blank_images_connect_nothing():
    groups = duplicates.group_duplicates(
        ["a", "b", "c"], ["", " ", ""], [bytes(16), bytes(16), None]
    )
    assert groups.tolist() == ["a", "b", "c"]


def test_group_names_do_not_depend_on_the_order_of_rows():
    base = make_hashes(30)
    hashes = base + [flip_bits(h, 5) for h in base]
    ids = np.array([f"{i:02d}" for i in range(60)])
    groups = duplicates.group_duplicates(ids, ids, hashes)
    order = np.random.default_rng(1).permutation(60)
    shuffled = duplicates.group_duplicates(
        ids[order], ids[order], [hashes[i] for i in order]
    )
    assert groups[30:].tolist() == groups[:30].tolist() == ids[:30].tolist()
    np.testing.assert_array_equal(shuffled, groups[order])


def test_many_rows_take_seconds_not_hours():
    hashes = make_hashes(20_000)
    ids = [str(i) for i in range(20_000)]
    start = time.process_time()
    groups = duplicates.group_duplicates(ids, ids, hashes)
    assert len(set(groups)) == 20_000
    assert time.process_time() - start < 20  # all pairs: minutes
