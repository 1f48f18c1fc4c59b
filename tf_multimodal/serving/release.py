"""From a run directory to a SavedModel that was checked."""

import dataclasses
import json
import pathlib
import re
import shlex
from importlib import metadata

from tf_multimodal.inference.predictor import Predictor
from tf_multimodal.inference.run_reader import load_run_source, read_run
from tf_multimodal.serving.saved_model import (
    EXTRA_DIR,
    TOP_LABELS,
    export_saved_model,
)
from tf_multimodal.serving.verification import (
    TOLERANCE,
    Verification,
    choose_pairs,
    verify_saved_model,
)

RECORD_FILE = "verify.json"
RECORD_PACKAGES = ("tensorflow", "tensorflow-text", "keras", "keras-hub")
SPLITS = ("test", "validation", "train")  # the first with rows is compared


@dataclasses.dataclass(frozen=True)
class Release:
    """A version of a servable model and what it was checked with."""

    folder: pathlib.Path
    classes: tuple[str, ...]
    split: str
    verification: Verification


def release_run(run_dir: str | pathlib.Path, output_dir: str | pathlib.Path) -> Release:
    """Exports a run's best model in float32 as the next version of a folder.

    Run it where no GPU is visible: a graph traced beside one holds cuDNN
    operations, which a server on a CPU does not have.

    Args:
        run_dir: a finished run.
        output_dir: holds the versions `1/`, `2/`, ...

    Raises:
        VerificationError: the SavedModel, loaded in a fresh process without the
            project, does not answer as `Predictor.predict` does. Nothing is left.
    """
    predictor = Predictor.from_run(run_dir, dtype="float32")
    source = load_run_source(read_run(run_dir))
    split = next((s for s in SPLITS if len(source.get_indices(s))), SPLITS[0])
    pairs = choose_pairs(source, split)
    checked: list[Verification] = []

    def check(folder: pathlib.Path) -> None:
        checked.append(verify_saved_model(folder, predictor, pairs))
        write_record(folder / EXTRA_DIR / RECORD_FILE, split, checked[0])

    folder = export_saved_model(predictor, output_dir, check)
    return Release(folder, tuple(predictor.classes), split, checked[0])


def write_record(path: pathlib.Path, split: str, verification: Verification) -> None:
    """Writes what was compared, and the packages' versions, as JSON."""
    record = {
        **dataclasses.asdict(verification),
        "tolerance": TOLERANCE,
        "split": split,
        "versions": {name: metadata.version(name) for name in RECORD_PACKAGES},
    }
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def describe_release(release: Release) -> str:
    """Returns what was written and compared, and how to serve it, for a person."""
    checked = release.verification
    top, count = min(TOP_LABELS, len(release.classes)), len(release.classes)
    model_dir = release.folder.resolve().parent
    # runs/NAME/export/1 is served as NAME.
    name = model_dir.parent.name if model_dir.name == "export" else model_dir.name
    name = re.sub(r"[^\w.-]", "_", name)
    mount = shlex.quote(f"{model_dir}:/models/{name}:ro")
    return f"""\
Exported {release.folder}
  serving_default(image_bytes: string [b], text: string [b])
    -> labels string [b, {top}], scores float32 [b, {top}],
       probabilities float32 [b, {count}]
Verified in a fresh process without the project, against predict in float32:
  rows                {checked.rows}: {checked.real_rows} pairs of the \
{release.split} split, {checked.rows - checked.real_rows} made up (input missing or \
broken)
  largest difference  {checked.max_difference:.1e} of a probability; \
{TOLERANCE:.0e} is allowed
  labels agree        {checked.labels_agree} of {checked.rows}

Serve it with TensorFlow Serving, 2.20 or newer:
  docker run --rm -p 8501:8501 -v {mount} \\
    -e MODEL_NAME={name} tensorflow/serving
Ask it:
  printf '{{"instances": [{{"image_bytes": {{"b64": "%s"}}, "text": "%s"}}]}}' \\
    "$(base64 -w0 IMAGE.png)" "THE TEXT BESIDE IT" |
    curl -d @- http://localhost:8501/v1/models/{name}:predict
"""
