"""What a folder of records holds, and whether it still does.

`plan.json` says what is being written, `rows-….json` beside each shard what came out,
and `index.json`, which is written last, all of it. Files appear whole or not at all.
"""

import collections
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tf_multimodal.data import files
from tf_multimodal.data.atomic_file import PARTIAL, write_url

FORMAT_VERSION = 1
PLAN, INDEX, DROPPED = "plan.json", "index.json", "dropped.jsonl"
_LOCK = ".lock"


def name_shard(number: int, count: int) -> str:
    """Returns the name of a shard's file."""
    return f"rows-{number:05d}-of-{count:05d}.tfrecord"


def name_report(shard: str) -> str:
    """Returns the name of the report that lies beside a shard."""
    return shard.removesuffix(".tfrecord") + ".json"


@contextmanager
def hold(folder: str) -> Iterator[None]:
    """Makes the folder where it is missing, and keeps other commands out of it.

    The lock ends with the process. A URL is not locked.

    Raises:
        ValueError: another command writes to it, or it holds something else.
    """
    import tensorflow as tf

    tf.io.gfile.makedirs(folder)
    names = files.list_folder(folder)
    others = [n for n in names if n != _LOCK and not n.startswith(PARTIAL)]
    if others and PLAN not in names:
        raise ValueError(
            f"{folder} is not empty and holds no {PLAN}, so that it is no folder "
            "of records. Choose another --output."
        )
    if files.get_scheme(folder):
        yield
        return
    import fcntl

    with open(files.join(folder, _LOCK), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"Another command is writing records to {folder}. Wait until it has "
                "ended, or choose another --output."
            ) from error
        yield


def start(folder: str, plan: Mapping[str, Any]) -> None:
    """Writes the plan, or checks that the folder is of this plan, and clears it up.

    Args:
        folder: which `hold` holds.
        plan: what the shards follow from.

    Raises:
        ValueError: it holds other records; says what differs.
    """
    import tensorflow as tf

    names = files.list_folder(folder)
    for name in names:
        if name.startswith(PARTIAL):  # of a run that was killed
            tf.io.gfile.remove(files.join(folder, name))
    path = files.join(folder, PLAN)
    if PLAN not in names:
        write_json(path, plan)
        return
    try:
        old = read_json(path)
    except ValueError as error:
        raise ValueError(
            f"{error} Without it nobody knows which rows the shards hold. Choose "
            "another --output, or remove the folder."
        ) from error
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
    try:
        report = read_json(files.join(folder, name_report(shard)))
        return not find_damage(folder, report)
    except (OSError, ValueError, KeyError):  # no report, or a damaged one
        return False


def remove_report(folder: str, shard: str) -> None:
    """Removes the report of a shard that is to be written again, if there is one."""
    import tensorflow as tf

    path = files.join(folder, name_report(shard))
    if files.is_file(path):
        tf.io.gfile.remove(path)


def count_bad_rows(folder: str, counts: dict[str, float]) -> float:
    """Returns how many rows could not be used, by the reports that are there.

    Args:
        folder: of the shards.
        counts: of the reports that were read before, by name; it is completed.

    Returns:
        Their number; infinite, if one of them ended its shard.
    """
    for name in files.list_folder(folder):
        if name.startswith("rows-") and name.endswith(".json") and name not in counts:
            report = read_json(files.join(folder, name))
            bad = [line for line in report.get("dropped", ()) if not line["kept"]]
            counts[name] = math.inf if "failed" in report else len(bad)
    return sum(counts.values())


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
        if deep and files.compute_sha256(path) != report["sha256"]:
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
    try:
        index = read_json(path)
    except ValueError as error:
        raise ValueError(
            f"{error} Give the command that wrote the records again: it writes it, and "
            "keeps the shards."
        ) from error
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


def write_text(path: str, text: str) -> None:
    """Writes a file as UTF-8, in one piece; it may be a URL."""
    import tensorflow as tf

    with write_url(path) as temporary, tf.io.gfile.GFile(temporary, "wb") as file:
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
    try:
        value = json.loads(files.read_file(path))
    except ValueError as error:
        raise ValueError(f"{path} is damaged, it holds no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged, it holds no JSON object.")
    return value
