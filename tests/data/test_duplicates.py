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


@pytest.fixture
def compared(monkeypatch):
    """How many pairs of hashes were compared so far."""
    counts, count_bits = [0], np.bitwise_count

    def count(values):
        counts[0] += len(values)
        return count_bits(values)

    monkeypatch.setattr(np, "bitwise_count", count)
    return counts


@pytest.mark.parametrize("free_bytes", [16, 8, 3])
def test_work_stays_bounded_where_many_hashes_agree_in_most_bits(compared, free_bytes):
    rng = np.random.default_rng(0)
    count = 20_000
    hashes = np.zeros((count, 16), np.uint8)
    hashes[:, -free_bytes:] = rng.integers(0, 256, (count, free_bytes))
    duplicates.find_close_pairs(hashes)
    assert compared[0] < 100 * count  # all pairs: 10,000 times as many


def test_equal_hashes_cost_nothing_and_are_paired_with_the_first(compared):
    hashes = np.ones((5000, 16), np.uint8)
    pairs = duplicates.find_close_pairs(hashes)
    assert pairs.tolist() == [[0, row] for row in range(1, 5000)]
    assert compared[0] == 0


@pytest.mark.parametrize("max_distance_bits", [0, 1, 2, 5])
def test_crowded_hashes_give_the_pairs_that_comparing_all_gives(max_distance_bits):
    rng = np.random.default_rng(4)
    count = 3000
    free = rng.permutation(1 << 15)[:count].astype(">u2")  # bands of 5 bits are full
    hashes = np.zeros((count, 16), np.uint8)
    hashes[:, 7:9] = free[:, None].view(np.uint8).reshape(count, 2)
    bits = np.unpackbits(hashes[:, 7:9], axis=1).astype(np.float32)
    distances = bits @ (1 - bits.T) + (1 - bits) @ bits.T
    expected = np.argwhere(np.triu(distances <= max_distance_bits, 1))
    pairs = duplicates.find_close_pairs(hashes, max_distance_bits)
    np.testing.assert_array_equal(pairs, expected)


def test_large_images_have_the_hash_of_the_whole(monkeypatch):
    image = make_image(600, 900)
    whole = duplicates.compute_dhash(image)
    monkeypatch.setattr(duplicates, "_BAND_PX", 900 * 7)
    assert duplicates.compute_dhash(image) == whole


def test_connected_rows_have_one_number():
    pairs = np.array([[4, 1], [1, 3], [5, 6]])
    numbers = duplicates.connect_rows(7, pairs).tolist()
    assert numbers[1] == numbers[3] == numbers[4]
    assert numbers[5] == numbers[6]
    assert len(set(numbers)) == 4
    names = duplicates.name_groups(np.array(numbers), list("gfedcba"))
    assert names.tolist() == ["g", "c", "e", "c", "c", "a", "a"]


def test_equal_keys_are_paired_with_their_first_row():
    pairs = duplicates.pair_equal(np.array(["b", "a", "b", "b"], object))
    assert pairs.tolist() == [[0, 0], [1, 1], [0, 2], [0, 3]]
