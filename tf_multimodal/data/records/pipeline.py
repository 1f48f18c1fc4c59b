"""Writes what is missing of a folder of records, with Apache Beam."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from tf_multimodal.config import to_json
from tf_multimodal.data import files, sources, spec
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
        ValueError: what `load_source` says; the folder holds something else; or too
            many rows cannot be used.
    """
    _import_beam()
    _check_settings(folder, settings)
    source = sources.load_source(config)
    plan = make_plan(config, source, settings)
    index.start(folder, plan)
    job = shards.Job(
        to_json(config),
        folder,
        plan["fingerprint"],
        plan["shards"],
        **settings._asdict(),
    )
    names = [index.name_shard(number, job.shards) for number in range(job.shards)]
    todo = [n for n, name in enumerate(names) if not index.is_finished(folder, name)]
    if len(todo) < job.shards:
        print(f"{job.shards - len(todo)} of {job.shards} shards are finished: kept.")
    if todo:
        run_pipeline(job, todo, beam_flags)
    _check_reports(config, source, folder, names)
    left_out = [
        {**row._asdict(), "status": spec.UNUSABLE_ROW, "kept": False}
        for row in source.left_out
    ]
    return index.finish(folder, plan, left_out)


def make_plan(config: Any, source: Source, settings: Settings) -> dict[str, Any]:
    """Returns what the shards follow from."""
    import tensorflow as tf

    data = config.data.to_dict()
    return {
        "format": index.FORMAT_VERSION,
        "name": source.name,
        "fingerprint": source.compute_fingerprint(),
        "read": len(source) + len(source.left_out),
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


def run_pipeline(
    job: shards.Job, numbers: Sequence[int], beam_flags: Sequence[str]
) -> None:
    """Writes shards on Beam's workers, and waits for them."""
    beam, options = _import_beam()
    with beam.Pipeline(options=options(list(beam_flags))) as pipeline:
        _ = (
            pipeline
            | "Number the shards" >> beam.Create(list(numbers))
            | "Spread them" >> beam.Reshuffle()
            | "Write them" >> beam.Map(functools.partial(shards.write_shard, job))
        )


def _import_beam() -> tuple[Any, Any]:
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Records are written with Apache Beam, which is not installed. Install "
            f"it: pip install 'tf_multimodal[records]' ({error})"
        ) from error
    return apache_beam, PipelineOptions


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
    config: Any, source: Source, folder: str, names: Sequence[str]
) -> None:
    """Checks what the shards say of rows that could not be used."""
    dropped: list[dict[str, Any]] = []
    for name in names:
        report = index.read_json(files.join(folder, index.name_report(name)))
        if "failed" in report:
            raise ValueError(
                "A row cannot be used, and config.data.bad_rows is 'raise'.\n  "
                f"{report['failed']}\nRepair or remove it, or set "
                "config.data.bad_rows to 'drop' or 'mask' and choose another --output."
            )
        dropped += [line for line in report["dropped"] if not line["kept"]]
    limit = config.data.max_drop_rate
    if len(dropped) > limit * len(source):
        lines = [
            f"  {source.name}, row {line['row']} (id {line['id']}, image "
            f"{line['file'] or 'none'}): {line['reason']}"
            for line in dropped[:EXAMPLES]
        ]
        raise ValueError(
            f"{len(dropped)} of {len(source)} rows cannot be used, more than "
            f"config.data.max_drop_rate={limit} allows. The first:\n"
            + "\n".join(lines)
            + "\nRepair or remove them, or give the command again with a higher "
            "config.data.max_drop_rate: the shards are kept."
        )
