"""A table of image-text pairs read for other ends than training."""

import os
import tempfile
import weakref
from collections.abc import Collection, Mapping, Sequence

from tf_multimodal.data import spec
from tf_multimodal.data.ingest import IngestSettings, KeyNames, ingest_rows
from tf_multimodal.data.source import Source
from tf_multimodal.data.sources import SETTING, open_manifest


def read_manifest(
    path: str | os.PathLike[str],
    columns: Mapping[str, str],
    classes: Sequence[str] | None = None,
    require_labels: bool = True,
    split_fractions: Sequence[float] = (0.7, 0.15, 0.15),
    max_image_px: int = spec.MAX_IMAGE_PX,
    optional: Collection[str] = (),
    names: KeyNames | None = None,
    image_encoding: str = "path",
    text_template: str = "",
    captions: Sequence[str] = (),
) -> Source:
    """Reads a manifest and checks every cell of it.

    The rows are kept in a temporary folder for as long as the source is used.

    Args:
        path: CSV, TSV, JSON lines or Parquet, or a pattern of such files.
        columns: column of each role; "": the manifest has none. Image paths are
            relative to its folder.
        classes: names in the order of the labels; None: the sorted labels.
        require_labels: False reads neither label, split nor weight, and makes no
            groups: labels are -1 and splits empty.
        split_fractions: share of train, validation and test.
        max_image_px: a larger image plays no part in the groups.
        optional: roles whose column the manifest may lack, whatever `columns` says.
        names: what the messages say to set.
        image_encoding: what the image column holds: `path`, `bytes` or `base64`.
        text_template: joins columns in place of a text column.
        captions: columns of captions, in place of a text column.

    Raises:
        FileNotFoundError: no such file.
        ValueError: names file, row and column, what was received and expected.
    """
    names = names or KeyNames()
    settings = IngestSettings(
        columns={k: v for k, v in columns.items() if k != "captions"},
        split_fractions=tuple(split_fractions),
        max_image_px=max_image_px,
        classes=tuple(classes) if classes is not None else None,
        needs_labels=require_labels,
        optional=tuple(optional),
        names=names,
        image_encoding=image_encoding,
        text_template=text_template,
        captions=tuple(captions),
    )
    holds_paths = bool(columns.get("image")) and image_encoding == "path"
    reader = open_manifest(os.fspath(path), names.source or SETTING, holds_paths)
    folder = tempfile.TemporaryDirectory(prefix="rows-")
    source = ingest_rows(reader, settings, folder.name)
    # What is made of the source, by `dataclasses.replace`, keeps its images.
    weakref.finalize(source.images, folder.cleanup)
    return source
