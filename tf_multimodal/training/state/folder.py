"""Folders that appear on the disk complete or not at all."""

import os
import pathlib
import shutil

FORMER = ".former-"  # how the name of a folder begins that is being replaced


def sync_folder(folder: pathlib.Path) -> None:
    """Returns once a folder and all in it are durable."""
    for parent, _, names in os.walk(folder):
        for path in (*(os.path.join(parent, name) for name in names), parent):
            sync(path)


def sync(path: str | pathlib.Path) -> None:
    """Returns once a file, or the names in a folder, are durable."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def replace_folder(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Moves a complete folder to where another may be; that one is removed.

    Killed within, it leaves the other one beside it, as `get_former` names it.
    """
    former = get_former(target)
    if target.exists():
        shutil.rmtree(former, ignore_errors=True)
        os.replace(target, former)
    os.replace(folder, target)
    sync(target.parent)
    shutil.rmtree(former, ignore_errors=True)


def get_former(target: pathlib.Path) -> pathlib.Path:
    """Returns where `replace_folder` keeps what was at `target` before."""
    return target.with_name(FORMER + target.name)
