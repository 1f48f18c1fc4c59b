"""The text files that TensorFlow Serving reads at its start, and its flags.

Held against release 2.20.0: the flags are in its
tensorflow_serving/model_servers/main.cc.
"""

import textwrap
from typing import Any

from google.protobuf import text_format

from tf_multimodal.serving.bundle.public_protos import make_message
from tf_multimodal.serving.bundle.served_model import ServedModel

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"
MONITORING_FILE = "monitoring.config"
CONFIG_DIR = "/config"  # where the server finds the three
MODELS_DIR = "/models"
GRPC_PORT, REST_PORT = 8500, 8501  # the official image's
METRICS_PATH = "/monitoring/prometheus/metrics"
STABLE_LABEL = "stable"
CPUS = 4
BATCH_TIMEOUT_US = 2000
QUEUED_BATCHES = 64
POLL_SECONDS = 60

FLAGS = {
    "port": GRPC_PORT,
    "rest_api_port": REST_PORT,
    "model_config_file": f"{CONFIG_DIR}/{MODELS_FILE}",
    "model_config_file_poll_wait_seconds": POLL_SECONDS,
    # A label may be given at the start, before its version is loaded.
    "allow_version_labels_for_unavailable_models": "true",
    "enable_batching": "true",
    "batching_parameters_file": f"{CONFIG_DIR}/{BATCHING_FILE}",
    "monitoring_config_file": f"{CONFIG_DIR}/{MONITORING_FILE}",
}
_LABEL_COMMENT = f"""
# To decide by hand which version answers: replace the block above by this one, and
# let callers ask for the label (REST: .../labels/{STABLE_LABEL}:predict). To go back,
# change the label's number to the other version.
"""


def make_flags() -> list[str]:
    """Returns the arguments of `tensorflow_model_server`."""
    return [f"--{name}={value}" for name, value in FLAGS.items()]


def make_config_files(model: ServedModel) -> dict[str, str]:
    """Returns the content of the three files by name."""
    return {
        MODELS_FILE: _make_models_config(model),
        BATCHING_FILE: _make_batching_parameters(model),
        MONITORING_FILE: _make_monitoring_config(),
    }


def _make_models_config(model: ServedModel) -> str:
    if model.is_pinned:
        what = f"Version {model.version} is served, whatever appears beside it."
    else:
        what = "The newest version is served, and a newer one as soon as it appears."
    pinned = (model.version,) if model.is_pinned else ()
    others = tuple(number for number in model.versions if number != model.version)
    labelled = _make_model_config(
        model,
        tuple(sorted((*others[-1:], model.version))),
        {STABLE_LABEL: model.version},
    )
    return (
        f"# {what}\n# The server reads this file again every {POLL_SECONDS} seconds.\n"
        + _print(_make_model_config(model, pinned))
        + _LABEL_COMMENT
        + textwrap.indent(_print(labelled), "# ")
    )


def _make_model_config(
    model: ServedModel,
    versions: tuple[int, ...] = (),
    labels: dict[str, int] | None = None,
) -> Any:
    """Returns a ModelServerConfig that serves the given versions; none: the newest."""
    from tensorflow_serving.config import model_server_config_pb2

    server = model_server_config_pb2.ModelServerConfig()
    config = server.model_config_list.config.add()
    config.name = model.name
    config.base_path = f"{MODELS_DIR}/{model.name}"
    config.model_platform = "tensorflow"
    if versions:
        config.model_version_policy.specific.versions.extend(versions)
    else:
        config.model_version_policy.latest.num_versions = 1
    config.version_labels.update(labels or {})
    return server


def _make_batching_parameters(model: ServedModel) -> str:
    message = make_message(
        "BatchingParameters",
        # The server insists that the last allowed size is this one.
        max_batch_size=model.allowed_batch_sizes[-1],
        batch_timeout_micros=BATCH_TIMEOUT_US,
        max_enqueued_batches=QUEUED_BATCHES,
        num_batch_threads=CPUS,
        thread_pool_name="batches",
        allowed_batch_sizes=model.allowed_batch_sizes,
        pad_variable_length_inputs=False,
    )
    return (
        "# Requests are joined to batches of these sizes, which the warm-up covers.\n"
        f"# A request of more than {model.allowed_batch_sizes[-1]} rows is refused.\n"
        "# num_batch_threads: as many as the server has CPUs.\n" + _print(message)
    )


def _make_monitoring_config() -> str:
    prometheus = make_message("PrometheusConfig", enable=True, path=METRICS_PATH)
    return _print(make_message("MonitoringConfig", prometheus_config=prometheus))


def _print(message: Any) -> str:
    return text_format.MessageToString(message, as_utf8=True)
