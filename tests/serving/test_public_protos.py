"""The messages that are stated, for the wheel does not hold them."""

import pytest
from google.protobuf import text_format

from tf_multimodal.serving.bundle.public_protos import MESSAGES, make_message

# Names, types and numbers of `git show 2.20.0:PATH` in tensorflow/serving, in the
# order of the files.
WRAPPED_INT, WRAPPED_STRING = (
    "google.protobuf.Int64Value",
    "google.protobuf.StringValue",
)
PUBLIC_PROTOS = {
    # tensorflow_serving/servables/tensorflow/session_bundle_config.proto
    "BatchingParameters": {
        ("max_batch_size", WRAPPED_INT, 1),
        ("batch_timeout_micros", WRAPPED_INT, 2),
        ("max_enqueued_batches", WRAPPED_INT, 3),
        ("num_batch_threads", WRAPPED_INT, 4),
        ("thread_pool_name", WRAPPED_STRING, 5),
        ("enable_large_batch_splitting", "google.protobuf.BoolValue", 8),
        ("max_execution_batch_size", WRAPPED_INT, 9),
        ("allowed_batch_sizes", "[int64]", 6),
        ("pad_variable_length_inputs", "bool", 7),
    },
    # tensorflow_serving/config/monitoring_config.proto
    "PrometheusConfig": {("enable", "bool", 1), ("path", "string", 2)},
    "MonitoringConfig": {
        ("prometheus_config", "tensorflow.serving.PrometheusConfig", 1)
    },
}


def test_public_protos_are_those_of_the_server():
    stated = {
        message: {(name, kind, number) for name, (number, kind) in fields.items()}
        for message, fields in MESSAGES.items()
    }
    assert stated == PUBLIC_PROTOS


@pytest.mark.parametrize("name", MESSAGES)
def test_public_protos_refuse_unknown_fields(name):
    with pytest.raises(text_format.ParseError, match="no field named"):
        text_format.Parse("batch_size { value: 8 }", make_message(name))
    with pytest.raises(ValueError, match=f"{name} has no field 'batch_size'; it has"):
        make_message(name, batch_size=8)


def test_numbers_of_public_protos_are_wrapped():
    # `max_batch_size: 8` is a mistake that the server answers by not starting.
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_size: 8", make_message("BatchingParameters"))
