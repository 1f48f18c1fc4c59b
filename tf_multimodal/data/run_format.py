"""The format number of a run directory, in its versions.json.

It is raised when code of today reads an older run in another way than the code that
wrote it, or not at all. A key that is added does not raise it: runs without it get its
default. Older code refuses a key that it does not know, whatever the number.
"""

import json
import pathlib

RUN_FORMAT = 1


class RunFormatError(ValueError):
    """A run is of a format that this version of the project does not know."""


def check_run_format(path: str | pathlib.Path) -> None:
    """Checks that this version can read a run.

    Args:
        path: the run's versions.json. Without it, or without its key `format`, the
            run is of format 1: the number came later than the format.

    Raises:
        RunFormatError: the format is newer, or the file is damaged.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        return
    try:
        versions = json.loads(path.read_text(encoding="utf-8"))
        number = int(versions.get("format", 1))
    except (ValueError, TypeError, AttributeError) as error:
        raise RunFormatError(
            f"{path} cannot be read: {error}. Expected the JSON object that training "
            "writes; restore the file."
        ) from error
    if number > RUN_FORMAT:
        raise RunFormatError(
            f"{path}: the run has format {number}, and this version of the project "
            f"reads formats up to {RUN_FORMAT}. A newer version (tf_multimodal "
            f"{versions.get('tf_multimodal', 'unknown')}) wrote it: update the project."
        )
