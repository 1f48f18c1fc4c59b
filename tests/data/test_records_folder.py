"""A folder of records: damaged files, two commands at once, and an early end."""

import dataclasses
import logging

import pytest
from record_samples import COUNT, make_column, make_config, make_source

from tf_multimodal.data import sources
from tf_multimodal.data.records import index, pipeline, shards


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a source that lies in memory without Beam; returns the index."""

    def run(job, todo, options):
        for number in todo:
            shards.write_shard(job, number)

    def write(source, **data):
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "run_pipeline", run)
            patch.setattr(sources, "load_source", lambda config: source)
            shards._open_source.cache_clear()
            settings = pipeline.Settings(rows_per_shard=1)
            folder = str(tmp_path / "records")
            return pipeline.write_records(make_config(**data), folder, settings)

    return write


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"file": "rows'])
def test_a_damaged_report_is_written_again(tmp_path, write, content):
    source = make_source()
    written = write(source)
    path = tmp_path / "records" / index.name_report(index.name_shard(2, COUNT))
    whole = path.read_text()
    path.write_text(content)
    assert write(source) == written
    assert path.read_text() == whole


def test_a_damaged_plan_or_index_is_named(tmp_path, write):
    write(make_source())
    for name in (index.PLAN, index.INDEX):
        (tmp_path / "records" / name).write_text("")
    with pytest.raises(ValueError, match=r"plan\.json is damaged.*remove the folder"):
        write(make_source())
    with pytest.raises(ValueError, match=r"index\.json is damaged.* again: it writes"):
        index.check(str(tmp_path / "records"))


def test_one_command_at_a_time_writes_to_a_folder(tmp_path, write):
    folder = tmp_path / "records"
    with index.hold(str(folder)):
        half = folder / f"{index.PARTIAL}0-rows-00000-of-00007.tfrecord"
        half.write_bytes(b"half")
        with pytest.raises(ValueError, match=f"Another command .* to {folder}"):
            write(make_source())
        assert half.exists()
    write(make_source())
    assert not half.exists()


@pytest.mark.parametrize("policy", ["drop", "raise"])
def test_it_ends_when_it_is_certain_to_fail(tmp_path, write, policy):
    source = make_source([b"no image"] * 20)
    message = r"3 of 20 rows .* 3 of 20 shards: 3 undecodable_image"
    with pytest.raises(ValueError, match=message if policy == "drop" else "'raise'"):
        write(source, max_drop_rate=0.1, bad_rows=policy)
    reports = list((tmp_path / "records").glob("rows-*.json"))
    assert len(reports) == (3 if policy == "drop" else 1)


def test_a_repaired_row_is_read_again(tmp_path, write):
    image = tmp_path / "a.png"
    image.write_bytes(b"no image")
    source = make_source([str(image)])
    with pytest.raises(ValueError, match="does not decode"):
        write(source, bad_rows="raise")
    image.write_bytes(make_source().images[0])
    assert write(source, bad_rows="raise")["rows"] == 1


def test_rows_that_the_class_map_leaves_out_are_counted(write):
    written = write(dataclasses.replace(make_source(), excluded=4))
    assert (written["read"], written["rows"], written["excluded"]) == (11, 7, 4)


def test_records_alone_say_what_they_hold(tmp_path, write):
    """Only config.data.records is set: the columns, captions too, are the index's."""
    captions = [(f"a {i}", f"b {i}") for i in range(COUNT)]
    source = make_source(
        texts=[first for first, _ in captions],
        captions=make_column(captions),
        caption_names=("text", "alt"),
    )
    write(source)
    config = make_config(manifest="", records=str(tmp_path / "records"))
    config.cache_dir = str(tmp_path / "cache")
    found = sources.load_source(config)
    assert found.caption_names == ("text", "alt")
    assert list(found.captions) == captions
    for name in ("ids", "groups", "splits"):
        assert list(getattr(found, name)) == list(getattr(source, name)), name


def test_unknown_beam_flags_are_named():
    wrong = ["--direct_num_wrkers=2", "--nothing_like_it"]
    message = "no flag --direct_num_wrkers, --nothing_like_it. .* --direct_num_workers"
    with pytest.raises(ValueError, match=message):
        pipeline.make_options(wrong)
    with pytest.raises(ValueError, match=message):
        pipeline.make_options([*wrong, "--runner=directrunner"])
    # A job server may have flags that are not known here.
    pipeline.make_options(["--runner=FlinkRunner", "--parallelism=4"])


@pytest.mark.parametrize("beam_flags", [(), ("--runner=DirectRunner",)])
def test_the_direct_runner_starts_no_server(caplog, tmp_path, monkeypatch, beam_flags):
    """Beam's own DirectRunner downloads and starts Prism."""
    from apache_beam.runners.portability import prism_runner

    def refuse(*args):
        pytest.fail("Prism was started.")

    monkeypatch.setattr(prism_runner.PrismRunner, "run_pipeline", refuse)
    monkeypatch.setattr(sources, "load_source", lambda config: make_source())
    shards._open_source.cache_clear()
    with caplog.at_level(logging.INFO):
        written = pipeline.write_records(
            make_config(), str(tmp_path), pipeline.Settings(), beam_flags
        )
    assert written["rows"] == COUNT
    assert "prism" not in caplog.text.lower()
