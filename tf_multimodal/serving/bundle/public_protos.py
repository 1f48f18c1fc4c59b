"""Messages of TensorFlow Serving's text files that the wheel does not hold.

`tensorflow-serving-api` has `ModelServerConfig`, but neither `BatchingParameters`
nor `MonitoringConfig`. Their fields are stated here, as they are in the sources of
release 2.20.0 (github.com/tensorflow/serving, tag 2.20.0, commit bc7e9d2b):

    tensorflow_serving/servables/tensorflow/session_bundle_config.proto
    tensorflow_serving/config/monitoring_config.proto

A file that is written and read through these messages cannot hold a field, or a
kind of value, that the server does not know.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf import wrappers_pb2 as wrappers

PACKAGE = "tensorflow.serving"
# Message -> field -> (number, type); a type in brackets is repeated.
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, "google.protobuf.Int64Value"),
        "batch_timeout_micros": (2, "google.protobuf.Int64Value"),
        "max_enqueued_batches": (3, "google.protobuf.Int64Value"),
        "num_batch_threads": (4, "google.protobuf.Int64Value"),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, "[int64]"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, "google.protobuf.Int64Value"),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {
        "prometheus_config": (1, "tensorflow.serving.PrometheusConfig")
    },
}


def make_message(name: str, **fields: Any) -> Any:
    """Returns a message of `MESSAGES` with the given fields.

    Args:
        name: a key of `MESSAGES`.
        **fields: values; a wrapped number or string is given as itself.

    Raises:
        ValueError: the message has no such field.
    """
    message = _CLASSES[f"{PACKAGE}.{name}"]()
    for field, value in fields.items():
        if field not in MESSAGES[name]:
            raise ValueError(
                f"{name} has no field {field!r}; it has {', '.join(MESSAGES[name])}."
            )
        kind = MESSAGES[name][field][1]
        if kind.startswith("google.protobuf."):
            getattr(message, field).value = value
        elif isinstance(value, (list, tuple)):
            getattr(message, field).extend(value)
        elif "." in kind:
            getattr(message, field).CopyFrom(value)
        else:
            setattr(message, field, value)
    return message


def _make_classes() -> dict[str, type[Any]]:
    """Returns the message classes; of a pool of their own, so that none clash."""
    file = descriptor_pb2.FileDescriptorProto(
        name="public_protos.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[wrappers.DESCRIPTOR.name],
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.append(_make_field(field, number, kind))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name], pool)


def _make_field(
    name: str, number: int, kind: str
) -> descriptor_pb2.FieldDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind[0] == "[" else field.LABEL_OPTIONAL
    kind = kind.strip("[]")
    if "." in kind:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{kind}"
    else:
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    return field


_CLASSES = _make_classes()
