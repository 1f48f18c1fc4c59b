"""Reads a data set and reports what is wrong with it.

    python -m tf_multimodal.data.audit --config=configs/manifest.py \
        --config.data.manifest=pairs.csv --output=audit

Writes DIR/audit.html, which needs no other file, and DIR/audit.json. With --fix also a
cleaned copy of the manifest, split by groups of near-duplicates, beside the old one,
which stays as it is: pairs.fixed.csv, and pairs.removed.csv with the reason of each
row that is not in it; --overwrite replaces those of an earlier run. TensorFlow is
imported by the functions, so that `--help` answers at once.
"""

import os
import pathlib
import sys
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from tf_multimodal.command_line import read_config, run_command


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    if len(argv) > 1:
        raise app.UsageError(f"Expected flags alone. Received: {argv[1:]}")
    config = read_config(flags.FLAGS.config)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        _run(config, pathlib.Path(flags.FLAGS.output))
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def _run(config: Any, folder: pathlib.Path) -> None:
    from tf_multimodal.config import validate_config
    from tf_multimodal.data.audit import checkup, fixed_manifest, report

    validate_config(config)
    cleaner = None
    if flags.FLAGS.fix:  # checked before anything that takes long
        cleaner = fixed_manifest.ManifestCleaner(config, flags.FLAGS.overwrite)
    source = checkup.load_audited_source(config)
    found = checkup.audit_source(config, source)
    html_path, json_path = report.write_report(found, folder, config.data.max_image_px)
    for section in found.findings.values():
        for finding in section:
            if finding.count:
                print(f"{finding.count:>8}  {finding.title}")
    groups = found.summary["image_groups"]
    print(
        f"{groups['groups_across_splits']:>8}  Groups of near-duplicate images across "
        "splits"
    )
    print(f"Report: {html_path}\nData: {json_path}")
    if cleaner is not None:
        print(cleaner.write(found).describe())


if __name__ == "__main__":
    config_flags.DEFINE_config_file(
        "config", None, "Python file with get_config().", lock_config=True
    )
    flags.DEFINE_string("output", None, "Folder of the report.", required=True)
    flags.DEFINE_boolean("fix", False, "Write a cleaned manifest, too.")
    flags.DEFINE_boolean("overwrite", False, "Replace what an earlier --fix wrote.")
    flags.mark_flag_as_required("config")
    run_command(main)
