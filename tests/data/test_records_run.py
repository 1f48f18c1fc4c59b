"""The command with Apache Beam: whole, killed, with other workers, and its errors."""

import builtins
import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from record_samples import encode, make_config, make_source

from tf_multimodal.data import files, sources
from tf_multimodal.data.readers.record_shards import RecordShards
from tf_multimodal.data.records import pipeline, shards

ROOT = pathlib.Path(__file__).parents[2]
ROWS = 150


def hash_files(folder):
    return {p.name: files.compute_sha256(str(p)) for p in sorted(folder.iterdir())}


def make_command(folder, output, *beam_flags):
    return [
        *(sys.executable, "-m", "tf_multimodal.data.records"),
        f"--config={ROOT}/configs/manifest.py",
        f"--config.data.manifest={folder}/pairs.csv",
        f"--config.cache_dir={folder}/cache",
        f"--output={output}",
        *("--rows_per_shard=1", "--max_px=16"),
        *(("--", *beam_flags) if beam_flags else ()),
    ]


def run(command, **options):
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, **options
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with a table of pairs, one of which has a broken image."""
    folder = tmp_path_factory.mktemp("table")
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "label"])
        for i in range(ROWS):
            (folder / f"{i}.png").write_bytes(encode(24, 20, seed=i))
            writer.writerow([f"{i}.png", f"number {i}", ("cat", "dog")[i % 2]])
    (folder / "7.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def written(table):
    """The output of the command, and the records that it wrote."""
    output = table / "records"
    result = run(make_command(table, output))
    assert result.returncode == 0, result.stderr
    return result.stdout, output


def test_beam_writes_what_is_missing(tmp_path, monkeypatch):
    source = make_source()
    monkeypatch.setattr(sources, "load_source", lambda config: source)
    shards._open_source.cache_clear()
    settings = pipeline.Settings(rows_per_shard=2)
    pipeline.write_records(make_config(), str(tmp_path), settings)
    blocks = RecordShards(str(tmp_path)).read_rows(["id"])
    assert [i for block in blocks for i in block.values["id"]] == list(source.ids)


def test_without_beam_the_error_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("apache_beam"):
            raise ModuleNotFoundError("No module named 'apache_beam'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"tf_multimodal\[records\]"):
        pipeline.write_records(make_config(), str(tmp_path), pipeline.Settings())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_px": -1}, "--max_px must be at least 0"),
        ({"rows_per_shard": 0}, "--rows_per_shard must be at least 1"),
        ({"quality": 101}, "--quality is at most 100"),
    ],
)
def test_wrong_settings_are_named(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline.write_records(
            make_config(), str(tmp_path), pipeline.Settings(**settings)
        )


@pytest.mark.slow
def test_the_command_says_what_it_wrote_and_how_to_read_it(written):
    output, folder = written
    assert f"{ROWS - 1} of {ROWS} rows in {ROWS} shards" in output
    assert "1 undecodable_image" in output
    assert f"config.data.records = {str(folder)!r}" in output
    checked = run(
        [sys.executable, "-m", "tf_multimodal.data.records"]
        + ["--check", f"--output={folder}"]
    )
    assert f"{ROWS} shards, {ROWS - 1} rows" in checked.stdout
    assert checked.returncode == 0


@pytest.mark.slow
def test_a_killed_run_goes_on_to_equal_files(table, written, tmp_path):
    process = subprocess.Popen(
        make_command(table, tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    while len(list(tmp_path.glob("rows-*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = len(list(tmp_path.glob("rows-*.json")))
    assert finished < ROWS
    assert not (tmp_path / "index.json").exists()
    result = run(make_command(table, tmp_path))
    assert f"{finished} of {ROWS} shards are finished: kept." in result.stdout
    assert hash_files(tmp_path) == hash_files(written[1])


@pytest.mark.slow
def test_workers_in_processes_of_their_own_write_the_same(table, written, tmp_path):
    flags = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    result = run(make_command(table, tmp_path, *flags))
    assert result.returncode == 0, result.stderr
    assert hash_files(tmp_path) == hash_files(written[1])


@pytest.mark.slow
def test_errors_are_one_message_without_a_traceback(table, written):
    _, folder = written
    result = run([*make_command(table, folder), "--max_px=8"])
    assert result.returncode == 1
    assert "Error: " in result.stderr
    assert "Choose another --output" in result.stderr
    assert "Traceback" not in result.stderr
