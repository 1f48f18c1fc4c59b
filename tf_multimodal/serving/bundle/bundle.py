"""Writes the files that serve a model with TensorFlow Serving."""

import os
import pathlib
import tempfile

from tf_multimodal.serving.bundle.deployment import (
    COMPOSE_FILE,
    KUBERNETES_FILE,
    make_compose,
    make_kubernetes,
)
from tf_multimodal.serving.bundle.protoset import PROTOSET_FILE, make_protoset
from tf_multimodal.serving.bundle.readme import make_readme
from tf_multimodal.serving.bundle.served_model import ServedModel, read_served_model
from tf_multimodal.serving.bundle.server_config import make_config_files


def write_bundle(
    model_dir: str | pathlib.Path,
    output_dir: str | pathlib.Path,
    name: str | None = None,
) -> ServedModel:
    """Writes configuration, deployment files and a README around a model.

    The model stays where it is: the compose file names it by a path relative to
    the bundle.

    Args:
        model_dir: the folder that holds the versions, then the newest is served;
            or one version, which is then served whatever appears beside it.
        output_dir: made when it is missing; must be empty.
        name: what callers ask for; None: made of the folder's name.

    Returns:
        What was found out about the model.

    Raises:
        ValueError: the model cannot be served, or `output_dir` holds something.
    """
    output_dir = pathlib.Path(output_dir)
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise ValueError(
            f"{output_dir} is there and is not an empty folder; a bundle overwrites "
            "nothing. Give --output another folder."
        )
    model = read_served_model(model_dir, name)
    if output_dir.resolve().is_relative_to(model.model_dir):
        raise ValueError(
            f"{output_dir} lies inside the model's folder {model.model_dir}, which the "
            "server watches for versions. Give --output a folder beside it."
        )
    files = {
        **make_config_files(model),
        COMPOSE_FILE: make_compose(model, output_dir),
        KUBERNETES_FILE: make_kubernetes(model),
        "README.md": make_readme(model),
    }
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".writing-", dir=output_dir.parent
    ) as beside:
        written = pathlib.Path(beside) / "bundle"
        written.mkdir()
        for file, text in files.items():
            (written / file).write_text(text, encoding="utf-8")
        (written / PROTOSET_FILE).write_bytes(make_protoset())
        os.replace(written, output_dir)  # fails unless that is missing or empty
    return model
