import json
import shlex
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import coyo
from tf_multimodal.config import validate_config
from tf_multimodal.data.readers.webdataset import WebDataset
from tf_multimodal.datasets.coyo import fetching, link_rot
from tf_multimodal.datasets.coyo.choice import SCHEMA

STATUS = pa.schema(
    {"url": pa.string(), "status": pa.string(), "error_message": pa.string()}
    | {"label": pa.string(), "split": pa.string()}
)


def test_the_script_is_the_command(tmp_path):
    command = fetching.make_command(
        tmp_path / "a b.parquet", tmp_path / "i", ["--timeout=3", "--image_size=64"]
    )
    assert "--timeout=3" in command and "--image_size=64" in command
    assert not {"--timeout=10", "--image_size=256"} & set(command)
    fetching.write_script(tmp_path / "fetch.sh", command)
    first, *lines = (tmp_path / "fetch.sh").read_text().splitlines()
    assert first == "#!/bin/sh"
    assert shlex.split(" ".join(line.rstrip("\\") for line in lines)) == command
    saved = next(part for part in command if "additional" in part).partition("=")[2]
    assert set(json.loads(saved)) <= set(SCHEMA.names)


def test_the_config_reads_what_is_fetched():
    config = coyo.get_config()
    validate_config(config)
    read = {value for value in config.data.columns.to_dict().values() if value}
    saved = {f"json.{name}" for name in fetching.SAVED_COLUMNS}
    assert read == saved | {"jpg"}
    assert config.data.webdataset.endswith("/images/*.tar")


@pytest.mark.parametrize("option", ["--url_list=x", "--timeout", "timeout=3"])
def test_options_that_are_refused(tmp_path, option):
    with pytest.raises(ValueError, match=f"Received: '{option}'"):
        fetching.make_command(tmp_path / "s.parquet", tmp_path / "i", [option])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("HTTP Error 404: Not Found", "HTTP 404"),
        ("HTTP Error 308: Permanent Redirect", "HTTP 308"),
        ("The read operation timed out", "timeout"),
        ("<urlopen error timed out>", "timeout"),
        ("<urlopen error [Errno -2] Name or service not known>", "no host"),
        ("<urlopen error [Errno 111] Connection refused>", "connection refused"),
        ("[Errno 104] Connection reset by peer", "connection lost"),
        ("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] x>", "certificate or TLS"),
        ("Image decoding error", "no image"),
        ("image too small", "size or aspect ratio"),
        ("something\nnew", "other: something new"),
    ],
)
def test_reasons(message, reason):
    assert link_rot.name_reason(message) == reason


def test_counts_add_up(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rows = [
        {"id": i, "url": f"http://h{i % 2}.x/{i}", "label": label, "split": "train"}
        for i, label in enumerate(["猫"] * 4 + ["a|b"] * 3)
    ]
    selection = tmp_path / "selection.parquet"
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), selection)
    for shard in ("00000", "00001"):  # the second is not complete
        tried = [dict(row, status="success") for row in rows[:5]]
        tried[1] |= {"status": "failed_to_download", "error_message": "HTTP Error 410"}
        tried[4] |= {"status": "failed_to_resize", "error_message": None}
        pq.write_table(pa.Table.from_pylist(tried, STATUS), images / f"{shard}.parquet")
    times = {"start_time": 1.7e9, "end_time": 1.7e9 + 86_400}
    (images / "00000_stats.json").write_text(json.dumps(times))

    counts = link_rot.count_links(selection, images)
    total = {key: counts[key] for key in ("selected", "fetched", "failed", "not_tried")}
    assert total == {"selected": 7, "fetched": 3, "failed": 2, "not_tried": 2}
    assert counts["share_fetched"] == 0.6
    assert counts["reasons"] == {"HTTP 410": 1, "other: unknown": 1}
    assert counts["failing_hosts"] == {"h0.x": 1, "h1.x": 1}
    assert counts["classes"]["猫"]["fetched"] == 3
    assert counts["classes"]["a|b"] == {
        "selected": 3,
        "fetched": 0,
        "failed": 1,
        "not_tried": 2,
        "share_fetched": 0.0,
    }
    assert counts["splits"]["train"]["selected"] == 7
    assert (counts["first_day"], counts["last_day"]) == ("2023-11-14", "2023-11-15")
    page = link_rot.make_markdown(counts)
    assert "| a\\|b | 3 | 0 | 1 | 2 | 0.0% |" in page
    assert "made by a model from the pixels" in page


def test_shards_without_an_image_are_an_error(tmp_path):
    def write_stats(shard, successes, **statuses):
        stats = {"successes": successes, "status_dict": statuses}
        (tmp_path / f"{shard}_stats.json").write_text(json.dumps(stats))

    write_stats("00000", 0, **{"HTTP Error 404: Not Found": 2, "timed out": 1})
    write_stats("00001", 0, **{"HTTP Error 404: Gone": 2})
    with pytest.raises(ValueError, match=r"of the 5 .*\(4 HTTP 404, 1 timeout\)"):
        link_rot.check_images(tmp_path)
    write_stats("00001", 1, success=1, **{"HTTP Error 404: Gone": 1})
    link_rot.check_images(tmp_path)


def test_training_on_shards_without_samples_says_so(tmp_path):
    for number in range(2):
        tarfile.open(tmp_path / f"{number}.tar", "w").close()
    with pytest.raises(ValueError, match=r"\*.tar has no samples: .* its 2 shards"):
        WebDataset(f"{tmp_path}/*.tar").list_columns()
