"""Ids that stand twice, in a block or in two that are far apart."""

import random

from tf_multimodal.data.cell_checks import SeenIds


def test_the_first_row_of_an_id_is_named():
    seen = SeenIds()
    assert not seen.find(["a", "b"], "x.csv", [2, 3])
    found = seen.find(["c", "b", "c", "a"], "y.csv", [2, 3, 4, 5])
    assert {place: reason.partition(" has")[0] for place, reason in found.items()} == {
        1: "received 'b', which row 3 of x.csv",
        2: "received 'c', which row 2 of y.csv",
        3: "received 'a', which row 2 of x.csv",
    }
    found = seen.find(["b"], "y.csv", [6])  # not the second row that had it
    assert "row 3 of x.csv" in found[0]
    assert not seen.find([], "y.csv", [])
    alone = SeenIds()
    assert alone.find(["a", "a"], "", [2, 3])[1].endswith(
        "row 2 has too. Make it unique."
    )


def test_blocks_of_any_size_are_as_one():
    ids = [f"key {number}" for number in random.Random(0).choices(range(2000), k=3000)]
    seen, start, found = SeenIds(), 0, {}
    while start < len(ids):
        stop = start + random.Random(start).randint(1, 200)
        rows = list(range(start, start + len(ids[start:stop])))
        for place, reason in seen.find(ids[start:stop], "", rows).items():
            found[start + place] = int(reason.split("which row ")[1].split()[0])
        start = stop
    first = {}
    expected = {}
    for row, row_id in enumerate(ids):
        if first.setdefault(row_id, row) != row:
            expected[row] = first[row_id]
    assert found == expected
    assert sum(run.shape[1] for run in seen._runs) == len(set(ids))
    assert len(seen._runs) < 10
