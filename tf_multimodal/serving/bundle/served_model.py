"""What a serving bundle has to know about the model it is written for."""

import dataclasses
import json
import pathlib
import re
from typing import Any

from tf_multimodal.serving.model_card import CARD_FILE, read_model_card
from tf_multimodal.serving.versions import (
    EXTRA_DIR,
    check_name,
    list_versions,
    locate_version,
    make_name,
)

# The newest release whose sources the bundle's files were read against.
SERVER_VERSION = "2.20.0"


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A servable folder and what its files say.

    Attributes:
        name: what callers ask for.
        model_dir: holds the version folders; absolute.
        versions: numbers of those with a model card, ascending.
        version: what is served when the bundle is written.
        is_pinned: whether that stays so; else it is always the newest.
        classes: names of the classes of the version that is served.
        signatures: names of that version's signatures, `serving_default` first.
        allowed_batch_sizes: sizes that the version is warmed up for, ascending.
        server_version: of TensorFlow Serving, not older than the model needs.
        size_bytes: of the files of that version.
        max_image_px: pixels of the largest image that it decodes; 0: it reads none.
    """

    name: str
    model_dir: pathlib.Path
    versions: tuple[int, ...]
    version: int
    is_pinned: bool
    classes: tuple[str, ...]
    signatures: tuple[str, ...]
    allowed_batch_sizes: tuple[int, ...]
    server_version: str
    size_bytes: int
    max_image_px: int


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
    folder, base_dir, number, is_pinned = locate_version(model_dir)
    if number is None:
        raise ValueError(
            f"{base_dir} is a SavedModel, but not in a version folder: TensorFlow "
            "Serving finds models by number. Move it to a folder 1/ and give the "
            "folder above."
        )
    numbers = list_versions(base_dir)
    if not is_pinned and number != numbers[-1]:
        raise ValueError(
            f"The newest version in {base_dir}, {numbers[-1]}/, holds no "
            "saved_model.pb, and TensorFlow Serving would try to load it. Remove that "
            "folder, or give one version."
        )
    card = read_model_card(folder)
    name = make_name(base_dir) if name is None else name
    check_name(name)
    extra = folder / EXTRA_DIR
    oldest = _read_json(extra / "server_ops.json")["oldest_server"]
    signatures = sorted(card["signatures"], key=lambda key: key != "serving_default")
    return ServedModel(
        name=name,
        model_dir=base_dir,
        versions=tuple(
            v for v in numbers if (base_dir / str(v) / EXTRA_DIR / CARD_FILE).is_file()
        ),
        version=number,
        is_pinned=is_pinned,
        classes=tuple(card["classes"]),
        signatures=tuple(signatures),
        allowed_batch_sizes=tuple(sorted(card["allowed_batch_sizes"])),
        server_version=max(SERVER_VERSION, oldest, key=_parse_version),
        size_bytes=sum(
            path.stat().st_size for path in folder.rglob("*") if path.is_file()
        ),
        max_image_px=card["max_image_px"] or 0,
    )


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(
            f"There is no {path}. The model was exported without the files that a "
            "bundle is made of: export the run again with `python -m export`."
        )
    return json.loads(path.read_text(encoding="utf-8"))


def _parse_version(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
