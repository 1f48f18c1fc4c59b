r"""Writes a source of rows as sharded TFRecord files, with Apache Beam.

    python -m tf_multimodal.data.records --config=configs/manifest.py \
        --config.data.manifest=pairs.csv --output=records --max_px=512
    python -m tf_multimodal.data.records --check --output=records

The same command again goes on where it was ended. Flags of Apache Beam come behind
`--`, e.g. `-- --direct_num_workers=8 --direct_running_mode=multi_processing`, or
`-- --runner=FlinkRunner --flink_master=HOST:8081`. TensorFlow and Beam are imported
by the functions, so that `--help` answers at once.
"""

import os
import sys
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from tf_multimodal.command_line import read_config, run_command


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    wrong = [argument for argument in argv[1:] if not argument.startswith("--")]
    if wrong:
        raise app.UsageError(f"Expected flags alone. Received: {wrong}")
    values = flags.FLAGS
    if values.check == (values.config is not None):
        raise app.UsageError("Expected one of --config and --check.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        print(_check() if values.check else _write(argv[1:]))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _check() -> str:
    from tf_multimodal.data.records import index

    return index.check(flags.FLAGS.output)


def _write(beam_flags: list[str]) -> str:
    from tf_multimodal.config import validate_config
    from tf_multimodal.data.records import pipeline

    values = flags.FLAGS
    config = read_config(values.config)
    validate_config(config)
    settings = pipeline.Settings(values.max_px, values.quality, values.rows_per_shard)
    index = pipeline.write_records(config, values.output, settings, beam_flags)
    return _describe(index, values.output)


def _describe(index: dict[str, Any], folder: str) -> str:
    """Returns what was written, and the settings that read it."""
    dropped = [f"{n} {status}" for status, n in index["dropped"].items()]
    if index["excluded"]:
        dropped.append(f"{index['excluded']} by the class map")
    columns = {
        role: tuple(column) if isinstance(column, list) else column
        for role, column in index["columns"].items()
        if column
    }
    return (
        f"{folder}: {index['rows']} of {index['read']} rows in "
        f"{len(index['shards'])} shards. Left out: {', '.join(dropped) or 'none'}. "
        f"Counts and checksums: {folder}/index.json\n"
        f"Read them with\n  config.data.records = {folder!r}\n"
        f"  config.data.columns.update({columns!r})"
    )


if __name__ == "__main__":
    config_flags.DEFINE_config_file(
        "config", None, "Python file with get_config().", lock_config=True
    )
    flags.DEFINE_string("output", None, "Folder of the records.", required=True)
    flags.DEFINE_integer(
        "max_px", 512, "Longer side of an image, at most; 0: images as they are."
    )
    flags.DEFINE_integer("quality", 90, "Of the JPEGs of images that are scaled.")
    flags.DEFINE_integer("rows_per_shard", 2000, "Rows that a shard is made of.")
    flags.DEFINE_boolean("check", False, "Compare the shards with their checksums.")
    run_command(main)
