"""Images in a folder for each class, with captions in files beside them.

flowers/tulip/001.jpg      or    flowers/train/tulip/001.jpg
flowers/tulip/001.txt            flowers/train/tulip/001.txt
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import Problem, RawRows
from tf_multimodal.data.readers import cells

SPLIT_FOLDERS = ("train", "validation", "val", "valid", "dev", "test")


class _Pair(NamedTuple):
    """An image and the files beside it, by their paths below the root."""

    image: str
    sidecars: dict[str, str]  # by suffix


class ClassFolders:
    """Rows of a folder of class folders, in the order of their paths.

    Columns: `image`, `label` (the class folder), `id` (path of the image without its
    suffix), `split` where all folders of the first level are called as splits are,
    and by suffix what files beside the images hold: `txt`, or `json.FIELD`.

    Args:
        root: path or URL of the folder. Names that begin with `.` are not read.
    """

    setting = "config.data.folder"

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or root
        self.name = os.path.basename(self.root) or self.root

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of all files."""
        found = (item for item in self._walk("") if isinstance(item, str))
        return files.compute_fingerprint(
            path
            for path in (files.join(self.root, name) for name in found)
            if files.is_file(path)  # a link may lead nowhere
        )

    def list_columns(self) -> list[str]:
        """Returns the columns; those of sidecar files as the first 1,000 rows say."""
        names: dict[str, None] = dict.fromkeys(("image", "label", "id"))
        if self._has_splits():
            names["split"] = None
        for number, item in enumerate(self._list_pairs()):
            if number >= cells.SAMPLED_ROWS:
                break
            if isinstance(item, _Pair):
                names.update(dict.fromkeys(self._list_sidecar_columns(item)))
        return list(names)

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows; files that belong to no image are problems."""
        yield from cells.make_blocks(self._make_rows(columns), columns)

    def _make_rows(
        self, columns: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
        depth = 1 if self._has_splits() else 0
        for row, item in enumerate(self._list_pairs()):
            try:
                if isinstance(item, str):
                    raise ValueError(item)
                parts = item.image.split("/")
                if len(parts) < depth + 2:
                    raise ValueError(
                        f"{item.image} is in no class folder. Expected "
                        f"{'SPLIT/' * depth}CLASS/NAME."
                    )
                values = {
                    "image": item.image,
                    "label": parts[depth],
                    "id": os.path.splitext(item.image)[0],
                    "split": parts[0],
                }
                sidecars = [c for c in columns if c not in values]
                yield row, values | self._read_sidecars(item, sidecars)
            except ValueError as error:
                yield Problem(row, str(error))

    def _has_splits(self) -> bool:
        try:
            names = [n for n in files.list_folder(self.root) if not n.startswith(".")]
        except OSError as error:
            raise ValueError(
                f"There is no folder {self.root}, which {self.setting} names. Expected "
                "a folder of class folders."
            ) from error
        folders = [n for n in names if files.is_folder(files.join(self.root, n))]
        return bool(folders) and all(n.lower() in SPLIT_FOLDERS for n in folders)

    def _list_pairs(self) -> Iterator[_Pair | str]:
        """Yields images with their sidecars, and a sentence for each other file."""
        stem, names = "", []
        for name in self._walk(""):
            if isinstance(name, ValueError):
                yield str(name)
            elif os.path.splitext(name)[0] == stem:
                names.append(name)
            else:
                yield from _pair(names)
                stem, names = os.path.splitext(name)[0], [name]
        yield from _pair(names)

    def _walk(self, folder: str) -> Iterator[str | ValueError]:
        """Yields files below a folder, names that differ by suffix in succession."""
        names = files.list_folder(files.join(self.root, folder))
        for name in sorted(names, key=os.path.splitext):
            if name.startswith("."):
                continue
            path = f"{folder}/{name}" if folder else name
            if isinstance(cells.to_text(path), bytes):
                yield ValueError(f"{path!r} is not UTF-8. Rename it.")
                continue
            if _get_suffix(name) in cells.IMAGE_SUFFIXES + cells.TEXT_SUFFIXES:
                yield path
                continue
            place = files.join(self.root, path)
            if not files.is_folder(place):
                yield path
            elif os.path.islink(place):
                yield ValueError(
                    f"{path} is a link to a folder, which is not followed."
                )
            else:
                yield from self._walk(path)

    def _list_sidecar_columns(self, pair: _Pair) -> list[str]:
        names = []
        for suffix, path in pair.sidecars.items():
            if suffix == "json":
                try:
                    record = cells.parse_object(self._read_sidecar(path))
                except ValueError:  # `read_rows` names it
                    continue
                names += [f"json.{field}" for field in cells.list_fields([record])]
            else:
                names.append(suffix)
        return names

    def _read_sidecars(self, pair: _Pair, columns: Sequence[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for suffix, path in pair.sidecars.items():
            fields = [c for c in columns if c.partition(".")[0] == suffix]
            if not fields:
                continue
            data = self._read_sidecar(path)
            if suffix != "json":
                values[suffix] = cells.decode_text(data.strip())
                continue
            try:
                record = cells.parse_object(data)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            for column in fields:
                field = column.removeprefix("json.")
                values[column] = cells.to_cell(cells.get_field(record, field))
        return values

    def _read_sidecar(self, path: str) -> bytes:
        try:
            return files.read_file(files.resolve_inside(self.root, path))
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error}") from error


def _get_suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower().removeprefix(".")


def _pair(names: Sequence[str]) -> Iterator[_Pair | str]:
    """Yields the pairs of files that are called alike but for their suffixes."""
    images = [n for n in names if _get_suffix(n) in cells.IMAGE_SUFFIXES]
    texts = [n for n in names if _get_suffix(n) in cells.TEXT_SUFFIXES]
    for image in images:
        yield _Pair(image, {_get_suffix(name): name for name in texts})
    for name in names:
        if name in texts and not images:
            yield f"{name} has no image beside it."
        elif name not in texts and name not in images:
            yield (
                f"{name} is neither an image ({', '.join(cells.IMAGE_SUFFIXES)}) nor "
                f"a text ({', '.join(cells.TEXT_SUFFIXES)})."
            )
