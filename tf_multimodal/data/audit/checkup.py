"""The whole audit of a source: facts on its rows, and what they amount to."""

import collections
import dataclasses
import re
import sys
from typing import Any

import ml_collections

from tf_multimodal.data import files, spec
from tf_multimodal.data.audit import image_groups, images, label_counts, label_leak
from tf_multimodal.data.audit import texts as text_checks
from tf_multimodal.data.audit.finding import NAMED, Finding
from tf_multimodal.data.source import Source


@dataclasses.dataclass(frozen=True)
class Checkup:
    """What an audit found.

    Attributes:
        source: the rows.
        image_facts, text_facts: what was measured of every row.
        findings: what is the matter, by section: `rows`, `images`, `texts`, `labels`.
        summary: all of it for JSON, without the findings.
    """

    source: Source
    image_facts: images.ImageFacts
    text_facts: text_checks.TextFacts
    findings: dict[str, tuple[Finding, ...]]
    summary: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Returns the report as `audit.json` has it."""
        groups = dict(self.summary["image_groups"])
        groups["listed"] = [
            {key: value for key, value in group.items() if key != "indices"}
            for group in groups["listed"]
        ]
        return {
            **self.summary,
            "image_groups": groups,
            "findings": {
                section: [finding.to_json() for finding in found]
                for section, found in self.findings.items()
            },
        }


def load_audited_source(config: ml_collections.ConfigDict) -> Source:
    """Loads the source of a config as training does, however many rows are bad."""
    from tf_multimodal.data.sources import load_source

    config = config.copy_and_resolve_references()
    config.data.bad_rows = "drop"
    config.data.max_drop_rate = 1.0
    return load_source(config)


def audit_source(config: ml_collections.ConfigDict, source: Source) -> Checkup:
    """Reads every image and every text of a source and sums up what they are.

    Args:
        config: the whole config; its model says how texts become tokens.
        source: of `load_audited_source`.
    """
    image_facts = images.measure_images(source, config.data.max_image_px)
    tokenizer, reason = _build_tokenizer(config, source)
    text_facts = text_checks.measure_texts(source, tokenizer)
    max_tokens = config.model.text.max_tokens
    tokens = text_checks.summarize_tokens(text_facts, max_tokens)
    summary = {
        "source": _summarize_source(config, source),
        "images": images.summarize_images(image_facts),
        "texts": text_checks.summarize_texts(source, text_facts),
        "tokens": tokens or {"reason": reason or "There are no texts."},
        "labels": label_counts.summarize_labels(source),
        "image_groups": image_groups.summarize_groups(source, image_facts),
        "label_leak": label_leak.measure_leak(source, config.seed),
    }
    findings = {
        "rows": _list_left_out(source),
        "images": tuple(images.list_image_findings(source, image_facts)),
        "texts": tuple(text_checks.list_text_findings(source, text_facts)),
        "labels": tuple(label_counts.list_label_findings(source)),
    }
    return Checkup(source, image_facts, text_facts, findings, summary)


def _build_tokenizer(
    config: ml_collections.ConfigDict, source: Source
) -> tuple[Any, str]:
    """Returns the tokenizer that training would build, or None and the reason."""
    if config.model.modalities == "image":
        return None, "config.model.modalities='image' reads no text."
    from tf_multimodal.training.model_builder import build_preprocessor

    config = config.copy_and_resolve_references()
    config.model.modalities = "text"  # the image's preset is not needed
    training: list[str] = []
    if config.model.text.vocabulary == "learn":
        chosen = source.texts[source.get_indices(spec.SPLITS[0])]
        training = [text for text in chosen if isinstance(text, str)]
    try:
        return build_preprocessor(config, training).tokenizer, ""
    except (ValueError, OSError) as error:
        print(f"Warning: tokens are not counted: {error}", file=sys.stderr)
        return None, str(error)


def _list_left_out(source: Source) -> tuple[Finding, ...]:
    """Returns the rows that cannot be used, by kind of reason."""
    kinds = collections.defaultdict(list)
    for row in source.left_out:
        # What differs from row to row of a kind: quoted cells and numbers.
        kinds[re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", row.reason)].append(row)
    return tuple(
        Finding(
            "unusable_row",
            f"Rows left out: {kind}",
            len(rows),
            tuple(
                {
                    "row": row.row,
                    "id": row.id,
                    "file": row.file,
                    "text": "",
                    "note": row.reason,
                }
                for row in rows[:NAMED]
            ),
        )
        for kind, rows in sorted(kinds.items(), key=lambda item: -len(item[1]))
    )


def _summarize_source(
    config: ml_collections.ConfigDict, source: Source
) -> dict[str, Any]:
    return {
        "name": source.name,
        "rows_read": source.rows_read,
        "rows": len(source),
        "left_out": len(source.left_out),
        "excluded_by_class_map": source.excluded,
        "splits": {name: len(source.get_indices(name)) for name in spec.SPLITS},
        "groups": len(set(source.groups)),
        "multi_label": source.label_sets is not None,
        "captions": list(source.caption_names),
        "parts": [part.name for part in source.parts],
        "fingerprint": source.compute_fingerprint(),
        "files": _list_files(config),
    }


def _list_files(config: ml_collections.ConfigDict) -> list[dict[str, Any]]:
    """Returns name, size and SHA-256 of the source's own tables.

    Of shards and folders, which may be terabytes, the size alone.
    """
    listed = []
    for part in list(config.data.mixture.values()) or [config.data]:
        paths = []
        for pattern in (part.manifest, part.webdataset):
            paths += files.list_files(pattern) if pattern else []
        for path in paths:
            status = files.get_status(path)
            digest = files.compute_sha256(path) if part.manifest else None
            listed.append({"file": path, "bytes": status.size, "sha256": digest})
        for folder in (part.folder, part.records, part.huggingface):
            if folder:
                listed.append({"file": folder, "bytes": None, "sha256": None})
    return listed
