"""A short run of configs/tiny.py, made once."""

import contextlib
import io

import pytest

from configs import tiny
from tf_multimodal.data.sources import load_source
from tf_multimodal.training import run


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """The smoke-test config, cut to three short epochs."""
    config = tiny.get_config()
    config.cache_dir = str(tmp_path_factory.mktemp("cache"))
    config.train.epochs = 3
    config.train.eval_intervals = 1
    config.train.batch_size = 64
    return config.lock()


@pytest.fixture(scope="session")
def tiny_source(tiny_config):
    """The rows of the shapes data set."""
    return load_source(tiny_config)


@pytest.fixture(scope="session")
def trained(tiny_config, tiny_source, tmp_path_factory):
    """A finished run and what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        folder = run.run(
            tiny_config, tmp_path_factory.mktemp("runs") / "a", tiny_source
        )
    return folder, output.getvalue()
