"""What a folder of records holds, and whether it still does.

`plan.json` says what is being written, `rows-….json` beside each shard what came out,
and `index.json`, which is written last, all of it. Files appear whole or not at all.
"""

import collections
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tf_multimodal.data import files

FORMAT_VERSION = 1
PLAN, INDEX, DROPPED = "plan.json", "index.json", "dropped.jsonl"
_PARTIAL = ".partial"
_PIECE = 1 << 24  # bytes that are hashed at once


def name_shard(number: int, count: int) -> str:
    """Returns the name of a shard's file."""
    return f"rows-{number:05d}-of-{count:05d}.tfrecord"


def name_report(shard: str) -> str:
    """Returns the name of the report that lies beside a shard."""
    return shard.removesuffix(".tfrecord") + ".json"


def start(folder: str, plan: Mapping[str, Any]) -> None:
    """Makes the folder, or checks that it is of this plan, and clears it up.

    Raises:
        ValueError: it holds something else; says what differs.
    """
    import tensorflow as tf

    tf.io.gfile.makedirs(folder)
    names = files.list_folder(folder)
    for name in names:
        if name.endswith(_PARTIAL):  # of a run that was killed
            tf.io.gfile.remove(files.join(folder, name))
    if PLAN not in names:
        if [name for name in names if not name.endswith(_PARTIAL)]:
            raise ValueError(
                f"{folder} is not empty and holds no {PLAN}, so that it is no folder "
                "of records. Choose another --output."
            )
        write_json(files.join(folder, PLAN), plan)
        return
    old = read_json(files.join(folder, PLAN))
    new = json.loads(json.dumps(plan))
    if old != new:
        different = sorted(k for k in old | new if old.get(k) != new.get(k))
        lines = [f"  {k}: {old.get(k)!r} -> {new.get(k)!r}"[:400] for k in different]
        raise ValueError(
            f"{folder} holds records of other rows or settings:\n"
            + "\n".join(lines)
            + "\nChoose another --output, or remove the folder."
        )


def is_finished(folder: str, shard: str) -> bool:
    """Returns whether a shard is there, whole and as its report says."""
    path = files.join(folder, name_report(shard))
    return files.is_file(path) and not find_damage(folder, read_json(path))


def find_damage(folder: str, report: Mapping[str, Any], deep: bool = True) -> str:
    """Returns what is wrong with a shard, or an empty text.

    Args:
        folder: where it lies.
        report: its `file`, `bytes` and `sha256`.
        deep: compare the checksum, too, for which all of it is read.
    """
    if report.get("failed"):
        return report["failed"]
    path = files.join(folder, report["file"])
    try:
        size = files.get_status(path).size
        if size != report["bytes"]:
            return f"{path} has {size:,} bytes, expected {report['bytes']:,}"
        if deep and compute_checksum(path) != report["sha256"]:
            return f"{path} has changed: its SHA-256 is not the one of the index"
    except OSError as error:
        return f"{path} cannot be read: {error}"
    return ""


def read_index(folder: str) -> dict[str, Any]:
    """Returns `index.json`.

    Raises:
        ValueError: there is none, or it is of another version.
    """
    path = files.join(folder, INDEX)
    if not files.is_file(path):
        expected = (
            "It was not finished: give the command that writes it again, and it goes on"
            if files.is_file(files.join(folder, PLAN))
            else "Expected a folder that python -m tf_multimodal.data.records has "
            "written"
        )
        raise ValueError(f"{folder} holds no {INDEX}. {expected}.")
    index = read_json(path)
    if index.get("format") != FORMAT_VERSION:
        raise ValueError(
            f"{path} is of format {index.get('format')!r}; this version reads "
            f"{FORMAT_VERSION}. Write the records again."
        )
    return index


def check(folder: str) -> str:
    """Reads every shard and compares it with the index.

    Returns:
        A sentence for the user.

    Raises:
        ValueError: a shard is missing or has changed; names every one.
    """
    index = read_index(folder)
    damages = list(filter(None, (find_damage(folder, s) for s in index["shards"])))
    if damages:
        raise ValueError(
            f"{len(damages)} of {len(index['shards'])} shards are damaged:\n  "
            + "\n  ".join(damages)
            + "\nGive the command that wrote them again: it writes these, and keeps "
            "the others."
        )
    size = sum(shard["bytes"] for shard in index["shards"])
    return (
        f"{folder}: {len(index['shards'])} shards, {index['rows']} rows, {size:,} "
        "bytes; every checksum is that of the index."
    )


def finish(
    folder: str, plan: Mapping[str, Any], left_out: list[dict[str, Any]]
) -> dict[str, Any]:
    """Writes `dropped.jsonl` and `index.json` from the shards' reports.

    Args:
        folder: of the shards, which are all finished.
        plan: what was to be written.
        left_out: lines of the rows that did not come as far as a shard.

    Returns:
        The index.
    """
    shards = plan["shards"]
    names = [name_shard(number, shards) for number in range(shards)]
    reports = [read_json(files.join(folder, name_report(name))) for name in names]
    lines = [*left_out, *(line for report in reports for line in report["dropped"])]
    write_text(
        files.join(folder, DROPPED),
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines),
    )
    counts: dict[str, collections.Counter[str]] = {}
    for report in reports:
        for split, classes in report["counts"].items():
            counts.setdefault(split, collections.Counter()).update(classes)
    kept, dropped = (
        collections.Counter(line["status"] for line in lines if line["kept"] is is_kept)
        for is_kept in (True, False)
    )
    index = {
        **plan,
        "rows": sum(report["rows"] for report in reports),
        "counts": counts,
        "dropped": dropped,
        "masked": kept,
        "shards": [
            {key: report[key] for key in ("file", "rows", "bytes", "sha256")}
            for report in reports
        ],
    }
    write_json(files.join(folder, INDEX), index)
    return index


def compute_checksum(path: str) -> str:
    """Returns the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with files.open_file(path) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def write_whole(path: str) -> Iterator[str]:
    """Gives a name to write to, which is moved to `path` at the end.

    An error leaves `path` as it was. The path may be a URL of a scheme that
    TensorFlow writes.
    """
    import tensorflow as tf

    temporary = f"{path}.{uuid.uuid4().hex}{_PARTIAL}"
    try:
        yield temporary
        tf.io.gfile.rename(temporary, path, overwrite=True)
    finally:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.remove(temporary)


def write_text(path: str, text: str) -> None:
    """Writes a file as UTF-8, in one piece."""
    import tensorflow as tf

    with write_whole(path) as temporary, tf.io.gfile.GFile(temporary, "wb") as file:
        # The name of a file need not be UTF-8; JSON reads the escape back.
        file.write(text.encode(errors="backslashreplace"))


def write_json(path: str, value: Mapping[str, Any]) -> None:
    """Writes a file of JSON, in one piece; equal values give equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: str) -> dict[str, Any]:
    """Returns what a file of JSON holds.

    Raises:
        ValueError: it is no JSON object.
    """
    value = json.loads(files.read_file(path))
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return value
