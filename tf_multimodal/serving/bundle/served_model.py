"""What a serving bundle has to know about the model it is written for."""

import dataclasses
import json
import pathlib
import re
from typing import Any

from tf_multimodal.serving.model_card import read_model_card
from tf_multimodal.serving.versions import EXTRA_DIR, list_versions, make_name

# The newest release whose sources the bundle's files were read against.
SERVER_VERSION = "2.20.0"
_NAME = re.compile(r"[\w.-]+")  # TensorFlow Serving takes all but "/" and ":" in a path


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A servable folder and what its files say.

    Attributes:
        name: what callers ask for.
        model_dir: holds the version folders; absolute.
        versions: their numbers, ascending.
        pinned_version: the only version to serve; None: always the newest.
        classes: names of the classes of the version that is served.
        signatures: names of that version's signatures, `serving_default` first.
        allowed_batch_sizes: sizes that the version is warmed up for, ascending.
        server_version: of TensorFlow Serving, not older than the model needs.
        size_bytes: of the files of that version.
    """

    name: str
    model_dir: pathlib.Path
    versions: tuple[int, ...]
    pinned_version: int | None
    classes: tuple[str, ...]
    signatures: tuple[str, ...]
    allowed_batch_sizes: tuple[int, ...]
    server_version: str
    size_bytes: int

    @property
    def version(self) -> int:
        """The version that is served when the bundle is written."""
        return self.pinned_version or self.versions[-1]


def read_served_model(
    model_dir: str | pathlib.Path, name: str | None = None
) -> ServedModel:
    """Reads the files beside a model that `python -m export` wrote.

    Args:
        model_dir: the folder that holds the versions, or one version of it.
        name: what callers ask for; None: made of the folder's name.

    Raises:
        ValueError: no SavedModel in a version folder, one without the files that
            the export writes beside it, or a name that cannot stand in a URL.
    """
    model_dir, pinned = _find_base(pathlib.Path(model_dir).resolve())
    versions = tuple(v for v in list_versions(model_dir) if v > 0)
    version = pinned or versions[-1]
    extra = model_dir / str(version) / EXTRA_DIR
    card = read_model_card(extra.parent)
    name = make_name(model_dir) if name is None else name
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be a model's name: expected letters, digits and any of "
            "`_`, `-`, `.`, for it stands in URLs. Set --name."
        )
    oldest = _read_json(extra / "server_ops.json")["oldest_server"]
    signatures = sorted(card["signatures"], key=lambda key: key != "serving_default")
    return ServedModel(
        name=name,
        model_dir=model_dir,
        versions=versions,
        pinned_version=pinned,
        classes=tuple(card["classes"]),
        signatures=tuple(signatures),
        allowed_batch_sizes=tuple(sorted(card["allowed_batch_sizes"])),
        server_version=max(SERVER_VERSION, oldest, key=_parse_version),
        size_bytes=sum(
            path.stat().st_size
            for path in (model_dir / str(version)).rglob("*")
            if path.is_file()
        ),
    )


def _find_base(folder: pathlib.Path) -> tuple[pathlib.Path, int | None]:
    """Returns the folder of the versions, and the version if one was given."""
    if (folder / "saved_model.pb").is_file():
        if folder.name.isdecimal() and int(folder.name) > 0:
            return folder.parent, int(folder.name)
        raise ValueError(
            f"{folder} is a SavedModel, but not in a version folder: TensorFlow "
            "Serving finds models by number. Move it to a folder 1/ and give the "
            "folder above."
        )
    versions = list_versions(folder) if folder.is_dir() else []
    if not versions or not (folder / str(versions[-1]) / "saved_model.pb").is_file():
        found = f"; its newest is {versions[-1]}/" if versions else ""
        raise ValueError(
            f"There is no servable model in {folder}{found}. Expected a folder of "
            "versions 1/, 2/, ... that each hold a saved_model.pb, as "
            "`python -m export` writes it, or one of those versions."
        )
    return folder, None


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(
            f"There is no {path}. The model was exported without the files that a "
            "bundle is made of: export the run again with `python -m export`."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
