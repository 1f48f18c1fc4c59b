"""Writes what is missing of a folder of records, with Apache Beam."""

import collections
import difflib
import functools
import uuid
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from tf_multimodal.config import to_json
from tf_multimodal.data import files, sources
from tf_multimodal.data.records import index, shards
from tf_multimodal.data.source import Source

EXAMPLES = 5  # rows that an error names
# They do not change what is in a record.
_IRRELEVANT = ("max_drop_rate", "service")


class Settings(NamedTuple):
    """How rows become records."""

    max_px: int = 512  # largest longer side; 0: images stay as they are
    quality: int = 90  # of JPEG, 1 to 100
    rows_per_shard: int = 2000


def write_records(
    config: Any, folder: str, settings: Settings, beam_flags: Sequence[str] = ()
) -> dict[str, Any]:
    """Writes the rows of a source as shards; goes on where a run was ended.

    Args:
        config: the whole configuration; `config.data` says which rows.
        folder: for the shards; a local one, or a URL that TensorFlow writes to.
        settings: of the records.
        beam_flags: of Apache Beam, e.g. `--runner=FlinkRunner`.

    Returns:
        The index.

    Raises:
        ModuleNotFoundError: Apache Beam is not installed.
        ValueError: an unknown flag; what `load_source` says; the folder holds
            something else, or another command writes to it; or too many rows cannot
            be used.
    """
    options = make_options(beam_flags)
    _check_settings(folder, settings)
    source = sources.load_source(config)
    plan = make_plan(config, source, settings)
    with index.hold(folder):
        index.start(folder, plan)
        _write_missing(config, source, folder, plan, options)
        left_out = [{**row._asdict(), "kept": False} for row in source.left_out]
        return index.finish(folder, plan, left_out)


def make_plan(config: Any, source: Source, settings: Settings) -> dict[str, Any]:
    """Returns what the shards follow from."""
    import tensorflow as tf

    data = config.data.to_dict()
    return {
        "format": index.FORMAT_VERSION,
        "name": source.name,
        "fingerprint": source.compute_fingerprint(),
        "read": source.rows_read,
        "excluded": source.excluded,  # by the class map
        "shards": -(-len(source) // settings.rows_per_shard),
        "classes": list(source.classes),
        "caption_names": list(source.caption_names),
        "columns": list_columns(source),
        "settings": settings._asdict(),
        "data": {key: data[key] for key in sorted(data) if key not in _IRRELEVANT},
        "tensorflow": tf.__version__,  # whose encoder makes the images
    }


def list_columns(source: Source) -> dict[str, Any]:
    """Returns the `config.data.columns` that read the records back."""
    columns: dict[str, Any] = {
        role: role for role in ("image", "text", "id", "split", "group", "weight")
    }
    columns["captions"] = list(source.caption_names)
    is_multi_label = source.label_sets is not None
    return columns | {
        "label": "" if is_multi_label else "label",
        "labels": "labels" if is_multi_label else "",
    }


def run_pipeline(job: shards.Job, numbers: Sequence[int], options: Any) -> None:
    """Writes shards on Beam's workers, and waits for them."""
    import apache_beam as beam

    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "Number the shards" >> beam.Create(list(numbers))
            | "Spread them" >> beam.Reshuffle()
            | "Write them" >> beam.Map(functools.partial(shards.write_shard, job))
        )


def make_options(beam_flags: Sequence[str]) -> Any:
    """Returns Beam's options.

    What Beam calls DirectRunner would rather download a server, Prism, and start it:
    FnApiRunner is the runner in this process.

    Args:
        beam_flags: of Apache Beam; those of other runners than the DirectRunner are
            the runner's to check.

    Raises:
        ModuleNotFoundError: Apache Beam is not installed.
        ValueError: Beam has no such flag.
    """
    try:
        from apache_beam.options import pipeline_options
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Records are written with Apache Beam, which is not installed. Install "
            f"it: pip install 'tf_multimodal[records]' ({error})"
        ) from error
    options = pipeline_options.PipelineOptions(list(beam_flags))
    standard = options.view_as(pipeline_options.StandardOptions)
    runner = (standard.runner or "direct").lower().removesuffix("runner")
    if runner == "direct":
        standard.runner = "FnApiRunner"
        known = set(options.get_all_options())
        unknown = set(options.get_all_options(retain_unknown_options=True)) - known
        if unknown:
            raise ValueError(
                "Apache Beam's DirectRunner has no flag "
                + ", ".join(f"--{name}" for name in sorted(unknown))
                + _suggest(unknown, known)
            )
    return options


def _suggest(unknown: Collection[str], known: Collection[str]) -> str:
    found = [difflib.get_close_matches(name, known, 1) for name in sorted(unknown)]
    names = ", ".join(f"--{name}" for match in found for name in match)
    return f". Did you mean {names}?" if names else "."


def _write_missing(
    config: Any, source: Source, folder: str, plan: dict[str, Any], options: Any
) -> None:
    """Writes the shards that are not there yet, and checks what all of them say."""
    count, limit = plan["shards"], config.data.max_drop_rate
    job = shards.Job(
        to_json(config),
        folder,
        plan["fingerprint"],
        count,
        **plan["settings"],
        max_bad_rows=int(limit * len(source)),
        run=uuid.uuid4().hex,
    )
    names = [index.name_shard(number, count) for number in range(count)]
    todo = [n for n, name in enumerate(names) if not index.is_finished(folder, name)]
    for number in todo:
        index.remove_report(folder, names[number])
    if len(todo) < count:
        print(f"{count - len(todo)} of {count} shards are finished: kept.")
    if todo:
        run_pipeline(job, todo, options)
    paths = [files.join(folder, index.name_report(name)) for name in names]
    reports = [index.read_json(path) for path in paths if files.is_file(path)]
    _check_reports(reports, source, limit, count)


def _check_settings(folder: str, settings: Settings) -> None:
    limits = {"max_px": 0, "quality": 1, "rows_per_shard": 1}
    for key, limit in limits.items():
        if getattr(settings, key) < limit:
            raise ValueError(
                f"--{key} must be at least {limit}. Received: {getattr(settings, key)}"
            )
    if settings.quality > 100:
        raise ValueError(f"--quality is at most 100. Received: {settings.quality}")
    if not files.is_read_by_tensorflow(folder):
        raise ValueError(
            f"--output={folder}: TensorFlow does not write to this scheme. Choose a "
            "local folder, or gs:// and the like."
        )


def _check_reports(
    reports: Sequence[dict[str, Any]], source: Source, limit: float, count: int
) -> None:
    """Checks what the shards say of rows that could not be used."""
    for report in reports:
        if "failed" in report:
            raise ValueError(
                "A row cannot be used, and config.data.bad_rows is 'raise'.\n  "
                f"{report['failed']}\nRepair or remove it, or set "
                "config.data.bad_rows to 'drop' or 'mask' and choose another --output."
            )
    dropped = [line for r in reports for line in r["dropped"] if not line["kept"]]
    if len(dropped) > limit * len(source):
        statuses = collections.Counter(line["status"] for line in dropped)
        counts = ", ".join(f"{statuses[name]} {name}" for name in sorted(statuses))
        lines = [
            f"  {source.name}, row {line['row']} (id {line['id']}, image "
            f"{line['file'] or 'none'}): {line['reason']}"
            for line in dropped[:EXAMPLES]
        ]
        raise ValueError(
            f"{len(dropped)} of {len(source)} rows cannot be used, more than "
            f"config.data.max_drop_rate={limit} allows, after {len(reports)} of "
            f"{count} shards: {counts}. The first:\n"
            + "\n".join(lines)
            + "\nRepair or remove them, or give the command again with a higher "
            "config.data.max_drop_rate: the shards are kept."
        )
