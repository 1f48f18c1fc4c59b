"""How many of a selection's links still lead to an image, from img2dataset's tables."""

import collections
import dataclasses
import datetime
import json
import pathlib
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq

# What img2dataset writes of an error, urllib's and OpenCV's words, by its kind.
_REASONS = (
    (r"HTTP Error (\d+)", r"HTTP \1"),
    (r"timed out|timeout", "timeout"),
    (r"Name or service|Temporary failure in name|nodename nor|getaddrinfo", "no host"),
    (r"Connection refused", "connection refused"),
    (r"reset by peer|Remote end closed|IncompleteRead", "connection lost"),
    (r"certificate|SSL", "certificate or TLS"),
    (r"redirect", "redirects"),
    (r"X-Robots-Tag", "the site asks not to be used (X-Robots-Tag)"),
    (r"decoding error|imdecode|OpenCV", "no image"),
    (r"too small|too large", "size or aspect ratio"),
    (r"unreachable|No route", "no route"),
)
_TOP_HOSTS = 10


@dataclasses.dataclass
class Tally:
    """Links tried and images fetched."""

    selected: int = 0
    fetched: int = 0
    failed: int = 0


def name_reason(message: str) -> str:
    """Returns the kind of an error message of img2dataset."""
    for pattern, reason in _REASONS:
        match = re.search(pattern, message, re.IGNORECASE)
        if match:
            return match.expand(reason)
    return f"other: {' '.join(message.split())[:60]}"


def count_links(selection: pathlib.Path, images: pathlib.Path) -> dict[str, Any]:
    """Returns the counts of a selection and of what was fetched of it.

    Args:
        selection: Parquet file of the rows.
        images: folder of img2dataset's shards, each with a Parquet file of its rows.

    Returns:
        `selected`, `fetched`, `failed` and `not_tried` (rows of shards that are not
        complete), which add up; `share_fetched` of those tried; `reasons`, `classes`,
        `splits`; `failing_hosts`; `first_day` and `last_day` of the fetching, UTC.

    Raises:
        ValueError: nothing was fetched yet.
    """
    stats_files = sorted(images.glob("*_stats.json"))
    if not selection.is_file() or not stats_files:
        raise ValueError(
            f"There is no {selection} with complete shards in {images}. Run the steps "
            "`select` and `fetch` first, with the same --output."
        )
    groups: dict[str, dict[str, Tally]] = {"label": {}, "split": {}}
    for row in _read_rows(selection, list(groups)):
        for key, tallies in groups.items():
            tallies.setdefault(row[key], Tally()).selected += 1
    reasons: collections.Counter[str] = collections.Counter()
    hosts: collections.Counter[str] = collections.Counter()
    days = []
    for path in stats_files:
        stats = json.loads(path.read_text(encoding="utf-8"))
        days += [_name_day(stats[key]) for key in ("start_time", "end_time")]
        table = path.with_name(path.name.replace("_stats.json", ".parquet"))
        for row in _read_rows(table, ["url", "status", "error_message", *groups]):
            is_fetched = row["status"] == "success"
            for key, tallies in groups.items():
                tally = tallies.setdefault(row[key], Tally())
                tally.fetched += is_fetched
                tally.failed += not is_fetched
            if not is_fetched:
                reasons[name_reason(row["error_message"] or "unknown")] += 1
                hosts[urllib.parse.urlsplit(row["url"]).netloc] += 1
    return {
        **_sum_up(groups["label"]),
        "first_day": min(days),
        "last_day": max(days),
        "reasons": dict(_sort_counts(reasons)),
        "failing_hosts": dict(_sort_counts(hosts)[:_TOP_HOSTS]),
        "classes": {k: _sum_up({k: t}) for k, t in sorted(groups["label"].items())},
        "splits": {k: _sum_up({k: t}) for k, t in sorted(groups["split"].items())},
    }


def check_images(images: pathlib.Path) -> None:
    """Checks that the complete shards hold an image.

    Raises:
        ValueError: no link led to one; says why, and what to do.
    """
    reasons: collections.Counter[str] = collections.Counter()
    for path in sorted(images.glob("*_stats.json")):
        stats = json.loads(path.read_text(encoding="utf-8"))
        if stats["successes"]:
            return
        for message, count in stats["status_dict"].items():
            reasons[name_reason(message)] += count
    counts = ", ".join(f"{n:,} {reason}" for reason, n in _sort_counts(reasons))
    raise ValueError(
        f"none of the {reasons.total():,} links tried led to an image ({counts}), so "
        f"{images} has nothing to train on. Check the network, remove that folder and "
        "run the step `fetch` again, or select other rows."
    )


def make_markdown(counts: dict[str, Any]) -> str:
    """Returns the counts as a page of Markdown."""
    lines = [
        "# Links of the COYO selection",
        "",
        f"{counts['fetched']:,} of {counts['selected']:,} images were fetched from "
        f"{counts['first_day']} to {counts['last_day']}, "
        f"{_format_share(counts['share_fetched'])} of those tried. "
        f"{counts['failed']:,} links failed, {counts['not_tried']:,} were not tried.",
        "",
        "The labels of COYO-Labeled-300M, where they were used, were made by a model "
        "from the pixels.",
    ]
    for title, key in (("Reason", "reasons"), ("Failing host", "failing_hosts")):
        lines += ["", f"| {title} | Links |", "|---|---:|"]
        lines += [f"| {_escape(k)} | {n:,} |" for k, n in counts[key].items()]
    for title, key in (("Class", "classes"), ("Split", "splits")):
        header = f"| {title} | Selected | Fetched | Failed | Not tried | Share |"
        lines += ["", header, "|---|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {_escape(name)} | {row['selected']:,} | {row['fetched']:,} | "
            f"{row['failed']:,} | {row['not_tried']:,} | "
            f"{_format_share(row['share_fetched'])} |"
            for name, row in counts[key].items()
        ]
    return "\n".join(lines) + "\n"


def _read_rows(path: pathlib.Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as table:
        for batch in table.iter_batches(columns=list(columns)):
            yield from batch.to_pylist()


def _sum_up(tallies: dict[str, Tally]) -> dict[str, Any]:
    selected, fetched, failed = (
        sum(getattr(tally, name) for tally in tallies.values())
        for name in ("selected", "fetched", "failed")
    )
    tried = fetched + failed
    return {
        "selected": selected,
        "fetched": fetched,
        "failed": failed,
        "not_tried": selected - tried,
        "share_fetched": fetched / tried if tried else None,
    }


def _sort_counts(counts: collections.Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _name_day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()


def _format_share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
