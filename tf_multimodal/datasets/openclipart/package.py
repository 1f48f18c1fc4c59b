"""Debian's package of the Open Clip Art Library: fetched and unpacked, no root."""

import os
import pathlib
import shutil
import subprocess
import warnings

PACKAGE = "openclipart-svg"
TESTED_VERSION = "1:0.18+dfsg-19"
FILE_PATTERN = f"{PACKAGE}_*.deb"
SVG_FOLDER = "usr/share/openclipart/svg"  # inside the package

MANUAL_INSTRUCTIONS = f"""\
Download the file {PACKAGE}_0.18+dfsg-19_all.deb (25 MB) by hand, from
https://packages.debian.org/bookworm/all/{PACKAGE}/download, put it into that
folder under the name it has, and run the same command again. Unpacking it needs
the program dpkg-deb (Debian and Ubuntu: package dpkg; macOS: brew install dpkg).
"""


def find_package(folder: str | os.PathLike[str]) -> pathlib.Path | None:
    """Returns the package file that lies in a folder, or None.

    Of several, the one whose name sorts last. The folder need not exist.
    """
    return max(pathlib.Path(folder).glob(FILE_PATTERN), default=None)


def download_package(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Downloads the package with `apt-get download` and returns its path.

    apt's lists and cache live in a directory of their own below `folder`, and the
    sources are the machine's, so nothing needs root and nothing changes for apt.

    Raises:
        RuntimeError: there is no apt-get, or it failed; with what it said.
    """
    if shutil.which("apt-get") is None:
        raise RuntimeError(f"{PACKAGE} cannot be downloaded: there is no apt-get here.")
    folder = pathlib.Path(folder).resolve()
    work = folder / "apt"
    state, cache = work / "state", work / "cache"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": cache,
        "APT::Sandbox::User": "root",  # as root: no other user may write here
    }
    command = ["apt-get", "--quiet"]
    command += [f"--option={key}={value}" for key, value in options.items()]
    # `update` also fails for hooks that want root: `download` decides.
    update = _run([*command, "update"], work)
    download = _run([*command, "download", PACKAGE], work)
    path = find_package(work)
    if download.returncode != 0 or path is None:
        said = (update.stderr + download.stderr).strip()
        raise RuntimeError(f"apt-get could not download {PACKAGE}:\n{said}")
    # Moved only when complete, so an interrupted download is never taken for it.
    complete = path.replace(folder / path.name)
    shutil.rmtree(work)
    return complete


def read_version(package: str | os.PathLike[str]) -> str:
    """Returns the package's version; warns when it is not the tested one.

    Raises:
        RuntimeError: dpkg-deb is missing or cannot read the file.
    """
    version = _run_dpkg_deb("--field", package, "Version").strip()
    if version != TESTED_VERSION:
        warnings.warn(
            f"{package} is version {version}; tested is {TESTED_VERSION}. Numbers of "
            "pairs and splits may differ from the documented ones.",
            stacklevel=2,
        )
    return version


def unpack_package(
    package: str | os.PathLike[str], folder: str | os.PathLike[str]
) -> pathlib.Path:
    """Unpacks the package into a folder and returns where its SVG files are.

    Raises:
        RuntimeError: dpkg-deb is missing or cannot read the file, or it is not
            the package.
    """
    _run_dpkg_deb("--extract", package, folder)
    root = pathlib.Path(folder) / SVG_FOLDER
    if not root.is_dir():
        raise RuntimeError(
            f"{package} holds no folder {SVG_FOLDER}; expected Debian's {PACKAGE}."
        )
    return root


def _run_dpkg_deb(*arguments: str | os.PathLike[str]) -> str:
    if shutil.which("dpkg-deb") is None:
        raise RuntimeError(
            f"Unpacking {PACKAGE} needs the program dpkg-deb, which is not here. "
            "Install it (Debian and Ubuntu: package dpkg; macOS: brew install dpkg)."
        )
    result = _run(["dpkg-deb", *map(str, arguments)])
    if result.returncode != 0:
        raise RuntimeError(
            f"dpkg-deb could not read {arguments[1]}:\n{result.stderr.strip()}\n"
            "Delete the file if its download was cut short, and run again."
        )
    return result.stdout


def _run(
    command: list[str], folder: pathlib.Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
