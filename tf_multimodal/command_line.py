"""Runs a command whose flags hold a config: errors are messages, not tracebacks."""

import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

from absl import app

PACKAGE = str(pathlib.Path(__file__).parent)


def run_command(main: Callable[[list[str]], object]) -> None:
    """Parses the flags and runs `main`; a config that cannot be had ends with a line.

    Args:
        main: gets what is left of the arguments; its result is the exit status.
    """
    app.run(main, flags_parser=_parse_flags)


def read_config(config: Any) -> Any:
    """Returns the config of a flag; one whose file cannot be read ends the process.

    Args:
        config: value of `config_flags.DEFINE_config_file`, which holds such an error
            back until an attribute is read.
    """
    try:
        config.seed  # noqa: B018
    except OSError as error:
        sys.exit(str(error))
    return config


def exit_with_message(error: Exception) -> None:
    """Ends the process with the error's message alone if it is one of ours.

    An error that another package raised may be a bug: it goes on, traceback and all.
    """
    origin = traceback.extract_tb(error.__traceback__)[-1].filename
    if not origin.startswith(PACKAGE):
        raise error
    sys.exit(f"{type(error).__name__}: {error}")


def _parse_flags(arguments: list[str]) -> list[str]:
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError) as error:
        # ml_collections wraps the KeyError that names the closest key.
        cause = error.args[0] if error.args else error
        if not isinstance(cause, KeyError):
            raise  # an error inside the config file
        sys.exit(f"There is no such config key: {cause.args[0]}")
