"""A run over a `tf.data.Dataset` of the caller's, which has no command of its own.

python -m benchmarks.killed_runs.dataset_run --workdir=run
"""

import functools
import pathlib
import sys

import tensorflow as tf
from absl import app, flags

from benchmarks.killed_runs.config import DATA, get_config
from benchmarks.killed_runs.data import read_elements
from tf_multimodal.data.dataset_source import read_dataset
from tf_multimodal.training.interruption import EXIT_INTERRUPTED, Interrupted
from tf_multimodal.training.run import run

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)


def main(argv: list[str]) -> None:
    """Trains, with the exit codes of `train.py`."""
    config = get_config("dataset")
    string = tf.TensorSpec((), tf.string)
    dataset = tf.data.Dataset.from_generator(
        functools.partial(read_elements, pathlib.Path(DATA)),
        output_signature={"image": string, "text": string, "label": string},
    )
    try:
        run(config, _WORKDIR.value, read_dataset(dataset, config))
    except Interrupted as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    app.run(main)
