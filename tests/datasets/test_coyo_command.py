"""The command as typed, against a web server on this machine."""

import http.server
import json
import threading

import image_samples
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from coyo_tables import LABELS, METADATA, make_label_row, make_row, write_table

from configs import coyo
from tf_multimodal.data.readers.webdataset import WebDataset
from tf_multimodal.data.sources import load_source

COMMAND = ("-m", "tf_multimodal.datasets.coyo")
RECIPE = """
where: [clip_similarity_vitb32 > 0.3]
per_class: 20
classes:
  dog: {keywords: [dog]}
  cat: {keywords: [cat]}
"""
# What becomes of row i of 40, by i % 10; else its picture comes.
GONE, SLOW, PAGE, FORBIDDEN = 1, 3, 5, 7


class Site(http.server.BaseHTTPRequestHandler):
    """Answers with pictures, errors and pages, or not in time."""

    picture = image_samples.save(image_samples.make_pixels(side_px=300), "JPEG")
    is_over = threading.Event()

    def do_GET(self):
        kind = int(self.path.strip("/").split(".")[0]) % 10
        if kind == GONE:
            self.send_error(404)
            return
        if kind == SLOW:
            self.is_over.wait(20)
        self.send_response(200)
        if kind == FORBIDDEN:
            self.send_header("X-Robots-Tag", "noai")
        self.end_headers()
        self.wfile.write(b"<html>sold out</html>" if kind == PAGE else self.picture)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def site():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Site.is_over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    flags = (f"--recipe={tmp_path / 'recipe.yaml'}", f"--output={tmp_path / 'out'}")
    return tmp_path, flags


def make_rows(site, count):
    return [
        make_row(i, f"a {('dog', 'cat')[i % 2]} {i}", url=f"{site}/{i}.jpg")
        for i in range(count)
    ]


@pytest.mark.slow
def test_select_fetch_and_report(site, paths, run_command):
    folder, flags = paths
    rows = make_rows(site, 40)
    write_table(folder / "m" / "a.parquet", rows)
    flags += (f"--metadata={folder}/m/*.parquet",)
    options = ("--", "--timeout=2", "--retries=0", "--processes_count=1")
    options += ("--number_sample_per_shard=16", "--thread_count=8")
    printed = run_command(*COMMAND, "all", *flags, *options)
    assert "nothing to fetch" not in printed.stdout
    assert "RuntimeWarning" not in printed.stderr

    out = folder / "out"
    script = (out / "fetch.sh").read_text()
    assert "import main; main()" in script and "--timeout=2" in script
    assert "--output_format=webdataset" in script and "--timeout=10" not in script
    counts = json.loads((out / "link_rot.json").read_text())
    assert counts["selected"] == 40 and counts["not_tried"] == 0
    assert counts["fetched"] == 24 and counts["share_fetched"] == 0.6
    assert counts["reasons"] == {
        "HTTP 404": 4,
        "no image": 4,
        "the site asks not to be used (X-Robots-Tag)": 4,
        "timeout": 4,
    }
    assert counts["classes"]["dog"]["fetched"] == 20  # the odd ones fail
    assert counts["classes"]["cat"]["failed"] == 16
    assert "| HTTP 404 | 4 |" in (out / "link_rot.md").read_text()

    columns = ["jpg", "txt", "json.label", "json.split", "json.id"]
    columns += ["json.image_phash", "json.masked_text"]
    blocks = list(WebDataset(f"{out}/images/*.tar").read_rows(columns))
    assert not any(block.problems for block in blocks)
    chosen = {r["id"]: r for r in pq.read_table(out / "selection.parquet").to_pylist()}
    found = {}
    for block in blocks:
        for values in zip(*(block.values[name] for name in columns), strict=True):
            found[int(values[4])] = values
    assert set(found) == {i for i in range(40) if not i % 2 or i % 10 == 9}
    for number, (image, text, label, split, _, phash, masked) in found.items():
        row = chosen[number]
        assert (text, label, split) == (row["text"], row["label"], row["split"])
        assert (phash, masked) == (row["image_phash"], f"a {number}")
        with open(image.path, "rb") as file:
            file.seek(image.offset)
            assert file.read(image.length).startswith(b"\xff\xd8")

    config = coyo.get_config()
    config.data.webdataset = f"{out}/images/*.tar"
    config.cache_dir = str(folder / "cache")
    source = load_source(config)
    assert set(source.ids) == set(map(str, found)) and not source.left_out
    assert source.images[0].startswith(b"\xff\xd8")

    # What is complete stays, a shard that is not is fetched again.
    shards = sorted((out / "images").glob("*.tar"))
    before = [shard.stat().st_mtime_ns for shard in shards]
    (out / "images" / "00001_stats.json").unlink()
    run_command(*COMMAND, "report", *flags)
    assert json.loads((out / "link_rot.json").read_text())["not_tried"] == 16
    run_command(*COMMAND, "fetch", *flags, *options)
    after = [shard.stat().st_mtime_ns for shard in shards]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]
    printed = run_command(*COMMAND, "fetch", *flags, *options).stdout
    assert "3 shards are complete: there was nothing to fetch." in printed


@pytest.mark.slow
def test_links_that_are_all_dead_are_an_error(site, paths, run_command):
    folder, flags = paths
    rows = [
        make_row(i, f"a {('dog', 'cat')[i % 2]} {i}", url=f"{site}/{i}1.jpg?{GONE}")
        for i in range(6)
    ]
    write_table(folder / "m" / "a.parquet", rows)
    flags += (f"--metadata={folder}/m/*.parquet",)
    options = ("--", "--retries=0", "--processes_count=1")
    failed = run_command(*COMMAND, "all", *flags, *options, expect=1)
    assert (
        "Error: none of the 6 links tried led to an image (6 HTTP 404)"
        in (failed.stderr.splitlines()[-1])
    )
    assert json.loads((folder / "out" / "link_rot.json").read_text())["failed"] == 6
    for step in ("fetch", "report"):
        failed = run_command(*COMMAND, step, *flags, expect=1)
        assert "none of the 6 links" in failed.stderr


def test_same_selection_twice_and_no_other_beside_its_images(paths, run_command):
    folder, flags = paths
    rows = make_rows("http://host", 40)
    write_table(folder / "m" / "a.parquet", rows)
    (folder / "recipe.yaml").write_text(
        "per_class: 5\nclasses: {dog: {label_ids: [n1]}, cat: {label_ids: [3]}}"
    )
    labels = [make_label_row(i, {(1, 3)[i % 2]: 0.9}) for i in range(40)]
    write_table(folder / "l" / "a.parquet", labels, LABELS)
    (folder / "names.txt").write_text("n0\nn1\nn2\nn3\n")
    flags += (f"--metadata={folder}/m/*.parquet", f"--labels={folder}/l/*.parquet")
    flags += (f"--label_names={folder}/names.txt",)
    printed = run_command(*COMMAND, "select", *flags).stdout
    assert "10 of 40 rows selected." in printed
    assert "30 left out: class is full" in printed
    assert "made by a model from the pixels" in printed
    path = folder / "out" / "selection.parquet"
    first = path.read_bytes()
    counts = json.loads(path.with_suffix(".json").read_text())
    assert sum(map(sum, (c.values() for c in counts["classes"].values()))) == 10

    (folder / "out" / "images").mkdir()
    run_command(*COMMAND, "select", *flags)
    assert path.read_bytes() == first
    write_table(folder / "m" / "a.parquet", rows[:30])
    failed = run_command(*COMMAND, "select", *flags, expect=1)
    assert "holds images of another selection" in failed.stderr
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("select",), "Error: --metadata is missing"),
        (("select", "--metadata=gone/*.parquet"), "Error: There is no file gone"),
        (
            ("select", "--metadata=x", "--recipe=gone"),
            "--recipe: there is no file gone",
        ),
        (
            ("select", "--metadata=x", "--label_names=gone"),
            "Error: --label_names: there is no file gone.",
        ),
        (("fetch",), "Run the step `select` first"),
        (("report",), "Run the steps `select` and `fetch` first"),
    ],
)
def test_errors_are_one_line(paths, run_command, arguments, message):
    _, flags = paths
    failed = run_command(*COMMAND, *flags, *arguments, expect=1)
    assert message in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_recipe_that_leaves_nothing_says_why(paths, run_command):
    folder, flags = paths
    write_table(folder / "m" / "a.parquet", [make_row(i, "a bird") for i in range(9)])
    flags += (f"--metadata={folder}/m/*.parquet",)
    failed = run_command(*COMMAND, "select", *flags, expect=1)
    assert "9 left out: no keyword in the text" in failed.stdout
    assert "no row is left" in failed.stderr and "Traceback" not in failed.stderr
    assert not (folder / "out" / "selection.parquet").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(paths, run_command):
    folder, flags = paths
    peaks = []
    for count in (200_000, 2_000_000):
        with pq.ParquetWriter(folder / f"{count}.parquet", METADATA) as writer:
            for start in range(0, count, 50_000):
                writer.write_table(make_table(start, 50_000), row_group_size=50_000)
        script = (
            "import resource, runpy, sys\n"
            "name = sys.argv.pop(1)\n"
            "try: runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
            "except SystemExit as end: assert not end.code\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        arguments = (COMMAND[1], "select", *flags[:1], f"--output={folder}/{count}")
        metadata = f"--metadata={folder}/{count}.parquet"
        printed = run_command("-c", script, *arguments, metadata).stdout
        assert f"40 of {count:,} rows selected." in printed
        peaks.append(int(printed.split()[-1]))
    assert peaks[1] < 1.5 * peaks[0], peaks


def make_table(start, count):
    """Rows that pass every condition, all with a class."""
    ids = pa.array(range(start, start + count))
    names = ids.cast(pa.string())
    words = pa.array(["a dog number ", "a cat number "] * (count // 2))
    columns = {
        "id": ids,
        "url": pc.binary_join_element_wise("http://host/", names, ""),
        "text": pc.binary_join_element_wise(words, names, ""),
        "image_phash": pc.utf8_lpad(names, 16, "0"),
    }
    row = make_row(0)
    return pa.table(
        {
            field.name: columns.get(field.name, pa.array([row[field.name]] * count))
            for field in METADATA
        }
    ).cast(METADATA)
