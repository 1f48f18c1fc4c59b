"""The command of img2dataset that fetches a selection's images."""

import importlib.util
import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Sequence

# As its console script does, which need not stand beside this Python; with `-m`,
# runpy warns.
_RUN = "from img2dataset import main; main()"
SAVED_COLUMNS = ("id", "label", "split", "image_phash", "masked_text")


def make_command(
    selection: pathlib.Path, images: pathlib.Path, options: Sequence[str] = ()
) -> list[str]:
    """Returns the command: https://github.com/rom1504/img2dataset#api.

    Shards that are complete are not fetched again. Sites that ask not to be used for
    training, by an X-Robots-Tag header, are left alone: img2dataset's default.

    Args:
        selection: Parquet file of the rows.
        images: folder of the shards.
        options: `--key=value` for img2dataset, in place of these or beside them.

    Raises:
        ValueError: an option that is none, or that the rest relies on.
    """
    quoted = ",".join(f'"{name}"' for name in SAVED_COLUMNS)
    fixed = {
        "url_list": str(selection),
        "input_format": "parquet",
        "url_col": "url",
        "caption_col": "text",
        "output_folder": str(images),
        "output_format": "webdataset",
        "save_additional_columns": f"[{quoted}]",
    }
    chosen = {
        "image_size": "256",  # px, the shorter side
        "resize_mode": "keep_ratio",
        "resize_only_if_bigger": "True",
        "skip_reencode": "True",
        "number_sample_per_shard": "1000",
        "processes_count": str(os.cpu_count() or 1),
        "thread_count": "64",
        "timeout": "10",  # seconds
        "retries": "1",
        "extract_exif": "False",
        "enable_wandb": "False",
    }
    for option in options:
        name, found, value = option.removeprefix("--").partition("=")
        if not found or not option.startswith("--") or name in fixed:
            raise ValueError(
                "an option of img2dataset is expected as --key=value, and none of "
                f"{', '.join(fixed)}. Received: {option!r}"
            )
        chosen[name] = value
    values = fixed | chosen
    program = [sys.executable, "-c", _RUN]
    return program + [f"--{name}={value}" for name, value in values.items()]


def write_script(path: pathlib.Path, command: Sequence[str]) -> None:
    """Writes the command as a shell script that may be run by itself."""
    first, *rest = (shlex.quote(part) for part in command)
    lines = " \\\n  ".join([" ".join([first, *rest[:2]]), *rest[2:]])
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)


def fetch_images(
    selection: pathlib.Path, images: pathlib.Path, options: Sequence[str] = ()
) -> None:
    """Writes the command beside the images' folder, as `fetch.sh`, and runs it.

    Raises:
        ValueError: there is no selection, no img2dataset, or it failed.
    """
    if not selection.is_file():
        raise ValueError(
            f"There is no {selection}. Run the step `select` first, with the same "
            "--output."
        )
    command = make_command(selection.resolve(), images.resolve(), options)
    script = images.parent / "fetch.sh"
    write_script(script, command)
    print(f"{script}:\n{script.read_text(encoding='utf-8')}", flush=True)
    if importlib.util.find_spec("img2dataset") is None:
        raise ValueError(
            "img2dataset is not installed: pip install 'tf_multimodal[coyo]'"
        )
    before = _find_complete(images)
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        raise ValueError(
            f"img2dataset ended with status {status}; its own messages stand above. "
            "The same command goes on after the shards that are complete."
        )
    if _find_complete(images) == before:
        print(f"{len(before):,} shards are complete: there was nothing to fetch.")


def _find_complete(images: pathlib.Path) -> dict[str, int]:
    """Returns when each complete shard was completed, by the name of its statistics."""
    return {path.name: path.stat().st_mtime_ns for path in images.glob("*_stats.json")}
