"""WebDataset shards: tar files in which a sample's files are called alike.

    000000001.jpg  000000001.txt  000000001.json  000000002.jpg  …

The format is that of https://github.com/webdataset/webdataset and is what img2dataset
writes. A tar is read by its headers; images stay where they are.
"""

import collections
import itertools
import json
import posixpath
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import braceexpand

from tf_multimodal.data import files
from tf_multimodal.data.raw_rows import ByteRange, Problem, RawRows
from tf_multimodal.data.readers import cells

KEY = "__key__"
# Folder and name up to the first dot, and the suffix, as in webdataset's tariterators.
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_END = bytes(tarfile.BLOCKSIZE)  # a tar ends with blocks of zeros


class _Sample(NamedTuple):
    key: str
    members: dict[str, ByteRange]  # by suffix


class WebDataset:
    """Rows of tar shards; the columns are the suffixes of a sample's files.

    `txt` is the text of that file, `jpg;png` the image of whichever is there,
    `json.caption` a field of the JSON file and `__key__` what the files are called.

    Args:
        pattern: of the tar files, e.g. `shards/*.tar` or `shards/{0000..0099}.tar`.
    """

    setting = "config.data.webdataset"

    def __init__(self, pattern: str) -> None:
        found = map(files.list_files, braceexpand.braceexpand(pattern))
        self.paths = tuple(path for paths in found for path in paths)
        self.root = files.get_folder(self.paths[0])
        self.name = posixpath.basename(pattern)

    def compute_fingerprint(self) -> str:
        """Returns a hash over names, sizes and times of the shards."""
        return files.compute_fingerprint(self.paths)

    def list_columns(self) -> list[str]:
        """Returns the columns of the first 1,000 samples.

        Raises:
            ValueError: the shards hold no sample, or one is compressed.
        """
        names = {KEY: None}
        for path in self.paths:
            with files.open_file(path) as file:
                for item in itertools.islice(
                    _read_samples(file, path), cells.SAMPLED_ROWS
                ):
                    if isinstance(item, _Sample):
                        names.update(dict.fromkeys(_list_columns(file, item)))
            if len(names) > 1:
                return list(names)
        raise ValueError(
            f"{self.name} has no samples: there is no file called KEY.SUFFIX in any of "
            f"its {len(self.paths):,} shards, of which the first is {self.paths[0]}. "
            "img2dataset leaves such shards where it fetched no image."
        )

    def read_rows(self, columns: Sequence[str]) -> Iterator[RawRows]:
        """Yields the rows, numbered from 0 in each shard.

        A sample without the image, or with a JSON file that is none, is a problem, and
        so is what follows a damaged place. Prints what img2dataset could not fetch.

        Raises:
            ValueError: a shard is compressed.
        """
        _describe_failures(self.paths)
        for path in self.paths:
            with files.open_file(path) as file:
                rows = _make_rows(file, path, columns)
                yield from cells.make_blocks(rows, columns, path)


def _make_rows(
    file: IO[bytes], path: str, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    for row, item in enumerate(_read_samples(file, path)):
        if isinstance(item, str):
            yield Problem(row, item)
            continue
        try:
            yield row, {column: _get_value(file, item, column) for column in columns}
        except ValueError as error:
            yield Problem(row, f"sample {item.key}: {error}")


def _get_value(file: IO[bytes], sample: _Sample, column: str) -> Any:
    if column == KEY:
        return cells.to_text(sample.key)
    suffixes = column.split(";")
    for suffix in suffixes:
        if suffix in sample.members:
            place = sample.members[suffix]
            if _is_image(suffix):
                return place
            return cells.decode_text(_read_member(file, place).strip())
    if any(map(_is_image, suffixes)):
        raise ValueError(
            f"there is no file .{' or .'.join(suffixes)}. It has: "
            f"{', '.join(sorted(sample.members))}"
        )
    # `json.caption` is in the file `.json`, `a.json.caption` in `.a.json`.
    head, found, field = f".{column}".partition(".json.")
    suffix = f"{head}.json".removeprefix(".")
    if not found or suffix not in sample.members:
        return None
    record = cells.parse_object(_read_member(file, sample.members[suffix]))
    return cells.to_cell(cells.get_field(record, field))


def _is_image(suffix: str) -> bool:
    return suffix.rpartition(".")[2] in cells.IMAGE_SUFFIXES


def _list_columns(file: IO[bytes], sample: _Sample) -> list[str]:
    names = list(sample.members)
    for suffix, place in sample.members.items():
        if suffix.rpartition(".")[2] == "json":
            try:
                record = cells.parse_object(_read_member(file, place))
            except ValueError:  # `read_rows` names it
                continue
            names += [f"{suffix}.{field}" for field in cells.list_fields([record])]
    return names


def _read_member(file: IO[bytes], place: ByteRange) -> bytes:
    file.seek(place.offset)
    return file.read(place.length)


def _read_samples(file: IO[bytes], path: str) -> Iterator[_Sample | str]:
    """Yields samples, and a sentence for what is none."""
    sample = _Sample("", {})
    problem = ""
    try:
        for member in _read_members(file, path):
            match = _NAME.fullmatch(member.name)
            key, suffix = (match[1], match[2].lower()) if match else ("", "")
            if not member.isreg() or not match:
                yield (
                    f"{member.name} in {path} is no file of a sample. Expected a "
                    "regular file called KEY.SUFFIX."
                )
                continue
            if key != sample.key:
                if sample.key:
                    yield problem or sample
                sample, problem = _Sample(key, {}), ""
            if suffix in sample.members:
                problem = f"sample {key} has two files .{suffix}."
            sample.members[suffix] = ByteRange(path, member.offset_data, member.size)
    except tarfile.TarError as error:
        yield (
            f"{path} is damaged: {error}. The sample {sample.key or 'there'}, and what "
            "follows it, is lost. Fetch or write the shard again."
        )
        return
    if sample.key:
        yield problem or sample


def _read_members(file: IO[bytes], path: str) -> Iterator[tarfile.TarInfo]:
    """Yields the files in a tar, hidden ones left out.

    `tarfile` takes a damaged header, and the end of a file that was cut, for the end.

    Raises:
        tarfile.TarError: the tar is damaged.
        ValueError: it is compressed.
    """
    if file.read(2) == b"\x1f\x8b":
        raise ValueError(
            f"{path} is compressed, so that an image in it cannot be read alone. "
            f"Unpack it: gunzip {path}"
        )
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # memory stays flat
            name = posixpath.basename(member.name)
            if not member.isdir() and not name.startswith((".", "__")):
                yield member
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != _END:
            raise tarfile.ReadError(f"no header at byte {tar.offset:,}")


def _describe_failures(paths: Sequence[str]) -> None:
    """Prints how many images img2dataset did not fetch, from its `*_stats.json`."""
    counts: collections.Counter[str] = collections.Counter()
    asked = fetched = 0
    for path in paths:
        stats_path = f"{path.removesuffix('.tar')}_stats.json"
        if files.is_file(stats_path):
            stats = json.loads(files.read_file(stats_path))
            asked, fetched = asked + stats["count"], fetched + stats["successes"]
            counts.update(stats["status_dict"])
    if asked > fetched:
        del counts["success"]
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.most_common(5))
        print(f"img2dataset fetched {fetched} of {asked} images. Not: {reasons}.")
