"""Files by path or URL: local, of a scheme that TensorFlow knows, or of fsspec.

A path without `scheme://` is local. A scheme of
`tf.io.gfile.get_registered_schemes()` is opened by TensorFlow, any other by
[fsspec](https://filesystem-spec.readthedocs.io), which names the package to install
where a scheme needs one.
"""

import contextlib
import functools
import glob
import hashlib
import io
import os
import posixpath
import re
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

from tf_multimodal.data.quoting import quote

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MAGIC = re.compile(r"[*?\[]")
# Module and class of what a file system of fsspec raises that is no OSError.
_FSSPEC_ERRORS = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
)
_PIECE = 1 << 20  # bytes of a file that are hashed at once


class FileStatus(NamedTuple):
    """What tells that a file has changed."""

    size: int  # bytes
    version: str  # time of the last change, or the store's own mark


def get_scheme(path: str) -> str:
    """Returns the scheme of a URL in lower case; empty for a local path."""
    match = _SCHEME.match(path)
    return match[1].lower() if match else ""


def is_read_by_tensorflow(path: str) -> bool:
    """Returns whether `tf.io.read_file` can read a path or URL like this one."""
    scheme = get_scheme(path)
    return not scheme or scheme in _get_tensorflow_schemes()


def open_file(path: str) -> IO[bytes]:
    """Opens a file for reading, in bytes; it can seek.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: no library opens this scheme.
    """
    if not get_scheme(path):
        return open(path, "rb")
    if is_read_by_tensorflow(path):
        with _translate_errors(path):
            return io.BufferedReader(_TensorFlowFile(path))
    return io.BufferedReader(_FsspecFile(path))


def read_file(path: str) -> bytes:
    """Returns the content of a file; raises as `open_file` does."""
    with open_file(path) as file:
        return file.read()


def read_range(path: str, offset: int, length: int) -> bytes:
    """Returns `length` bytes at `offset`; fewer where the file ends before."""
    with open_file(path) as file:
        file.seek(offset)
        return file.read(length)


def is_file(path: str) -> bool:
    """Returns whether there is a file of this path."""
    if not get_scheme(path):
        return os.path.isfile(path)
    if is_read_by_tensorflow(path):
        return _get_gfile().exists(path) and not is_folder(path)
    filesystem, place = _get_filesystem(path)
    return filesystem.isfile(place)


def is_folder(path: str) -> bool:
    """Returns whether there is a folder of this path."""
    if not get_scheme(path):
        return os.path.isdir(path)
    if is_read_by_tensorflow(path):
        return _get_gfile().isdir(path)
    filesystem, place = _get_filesystem(path)
    return filesystem.isdir(place)


def list_folder(path: str) -> list[str]:
    """Returns the names of what a folder holds, sorted."""
    if not get_scheme(path):
        return sorted(os.listdir(path))
    if is_read_by_tensorflow(path):
        return sorted(name.rstrip("/") for name in _get_gfile().listdir(path))
    filesystem, place = _get_filesystem(path)
    found = filesystem.ls(place, detail=False)
    return sorted(posixpath.basename(name.rstrip("/")) for name in found)


def list_files(pattern: str) -> list[str]:
    """Returns the files of a path, or of a pattern with `*`, `?` or `[]`, sorted.

    Raises:
        FileNotFoundError: there is none.
    """
    if is_file(pattern):
        return [pattern]
    found: Iterable[str] = ()
    if _MAGIC.search(pattern):
        if not get_scheme(pattern):
            found = glob.glob(pattern, recursive=True)
        elif is_read_by_tensorflow(pattern):
            found = _get_gfile().glob(pattern)
        else:
            filesystem, place = _get_filesystem(pattern)
            found = map(filesystem.unstrip_protocol, filesystem.glob(place))
    paths = sorted(path for path in found if is_file(path))
    if not paths:
        raise FileNotFoundError(
            f"There is no file {pattern}. Expected a file, or a pattern such as "
            f"`folder/*.csv`; relative paths start at {os.getcwd()}."
        )
    return paths


def get_status(path: str) -> FileStatus:
    """Returns size and version of a file.

    Raises:
        OSError: there is no such file.
    """
    if not get_scheme(path):
        status = os.stat(path)
        return FileStatus(status.st_size, str(status.st_mtime_ns))
    if is_read_by_tensorflow(path):
        with _translate_errors(path):
            status = _get_gfile().stat(path)
        return FileStatus(status.length, str(status.mtime_nsec))
    filesystem, place = _get_filesystem(path)
    with _translate_fsspec_errors(path):
        return FileStatus(filesystem.size(place), filesystem.ukey(place))


def compute_fingerprint(paths: Iterable[str]) -> str:
    """Returns a hash over the names, sizes and versions of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        status = get_status(path)
        name = path if get_scheme(path) else os.path.abspath(path)
        digest.update(repr((name, *status)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def compute_sha256(path: str) -> str:
    """Returns the SHA-256 of a file, hexadecimal; raises as `open_file` does."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def get_folder(path: str) -> str:
    """Returns the folder that a file is in: the root of a manifest's image paths."""
    if get_scheme(path):
        return path.rpartition("/")[0]
    return os.path.dirname(os.path.abspath(path))


def check_relative(path: str) -> None:
    """Checks, by its spelling, that a path stays inside the folder it starts from.

    Raises:
        ValueError: it is absolute, a URL, or leads out; says which.
    """
    if "\0" in path or os.path.isabs(path) or get_scheme(path):
        raise ValueError(
            f"received {quote(path)}, expected a path relative to the data's folder."
        )
    if os.path.normpath(path).split(os.sep)[0] == os.pardir:
        raise ValueError(
            f"received {quote(path)}, which leads out of the data's folder. Move the "
            "images into the folder, or the manifest above them."
        )


def join(root: str, path: str) -> str:
    """Returns a relative path below a folder or URL, not resolved any further."""
    if get_scheme(root):
        return posixpath.join(root, posixpath.normpath(path)).removesuffix("/.")
    return os.path.normpath(os.path.join(root, path))


def resolve_inside(root: str, path: str) -> str:
    """Returns where a relative path leads, symbolic links followed.

    Folders are looked up once: a link that is made later is not seen.

    Args:
        root: folder, or URL (which has no links), that the path must not leave.
        path: relative to it.

    Raises:
        ValueError: the path, or a link in it, leads out of the folder.
    """
    check_relative(path)
    if get_scheme(root):
        return join(root, path)
    folder, name = os.path.split(join(root, path))
    target = os.path.join(_resolve_folder(folder), name)
    if os.path.islink(target):
        target = os.path.realpath(target)
    top = _resolve_folder(root)
    if os.path.commonpath([top, target]) != top:
        raise ValueError(
            f"received {quote(path)}, a symbolic link that leads out of the data's "
            f"folder to {target}. Put a copy into the folder."
        )
    return target


class _TensorFlowFile(io.RawIOBase):
    """`tf.io.gfile.GFile` as a file of Python, for `csv`, `tarfile` and pyarrow."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _get_gfile().GFile(path, "rb")
        self._size = self._file.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}
        self._file.seek(start[whence] + offset)
        return self.tell()

    def readinto(self, buffer: Any) -> int:
        with _translate_errors(self._path):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _FsspecFile(io.RawIOBase):
    """A file of fsspec whose errors are those of Python."""

    def __init__(self, path: str) -> None:
        self._path = path
        filesystem, place = _get_filesystem(path)
        with _translate_fsspec_errors(path):
            self._file = filesystem.open(place, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with _translate_fsspec_errors(self._path):
            return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        with _translate_fsspec_errors(self._path):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextlib.contextmanager
def _translate_fsspec_errors(path: str) -> Iterator[None]:
    """Makes errors of fsspec's file systems those of Python."""
    try:
        yield
    except _list_fsspec_errors() as error:
        raise OSError(f"{path} cannot be read: {error}") from error


def _list_fsspec_errors() -> tuple[type[Exception], ...]:
    """Returns what fsspec's file systems raise beside OSError.

    An error is of a package that is imported already.
    """
    return tuple(
        getattr(sys.modules[module], name)
        for module, name in _FSSPEC_ERRORS
        if module in sys.modules
    )


@contextlib.contextmanager
def _translate_errors(path: str) -> Iterator[None]:
    """Makes errors of TensorFlow's file systems those of Python."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be read: {error.message}") from error


@functools.lru_cache(maxsize=65_536)
def _resolve_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _get_gfile() -> Any:
    import tensorflow as tf  # slow to import, and needed for URLs alone

    return tf.io.gfile


@functools.cache
def _get_tensorflow_schemes() -> frozenset[str]:
    return frozenset(_get_gfile().get_registered_schemes())


def _get_filesystem(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system of a URL, and the file's name there.

    Raises:
        ValueError: fsspec does not know the scheme, or lacks a package for it.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url} cannot be opened: {error}") from error
