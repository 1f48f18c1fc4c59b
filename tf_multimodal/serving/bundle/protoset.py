"""TensorFlow Serving's gRPC interface as a file that grpcurl reads.

The server has no reflection service, so a tool that is not compiled against the
protos must be given them. A protoset (a serialized FileDescriptorSet, as `protoc
--descriptor_set_out --include_imports` writes it) is one file instead of two
repositories; it is made from the descriptors that tensorflow-serving-api carries.
"""

from typing import Any

from google.protobuf import descriptor_pb2

PROTOSET_FILE = "prediction_service.protoset"


def make_protoset() -> bytes:
    """Returns PredictionService and ModelService with all that they import."""
    from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(descriptor: Any) -> None:
        if descriptor.name in files:
            return
        for dependency in descriptor.dependencies:  # before what needs it
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(proto)
        files[descriptor.name] = proto

    add(prediction_service_pb2.DESCRIPTOR)
    add(model_service_pb2.DESCRIPTOR)
    protoset = descriptor_pb2.FileDescriptorSet(file=files.values())
    return protoset.SerializeToString(deterministic=True)
