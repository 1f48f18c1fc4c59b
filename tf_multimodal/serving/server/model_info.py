"""What a loaded model says about itself: state and signatures."""

from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from tf_multimodal.serving.server.loaded_model import LoadedModel
from tf_multimodal.serving.server.request_error import make_invalid

SIGNATURE_DEF = "signature_def"  # the one metadata field that there is


def make_status(
    model: LoadedModel, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Returns the state of the one version that is served.

    Raises:
        RequestError: the request names another model or version.
    """
    if not request.HasField("model_spec"):
        raise make_invalid("Missing ModelSpec")
    model.check_status_spec(request.model_spec)
    response = get_model_status_pb2.GetModelStatusResponse()
    status = response.model_version_status.add(version=model.version)
    status.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    status.status.SetInParent()  # OK, which is the default
    return response


def make_metadata(
    model: LoadedModel, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """Returns the model's signatures.

    Raises:
        RequestError: another model or version, or another field than `signature_def`.
    """
    if not request.HasField("model_spec"):
        raise make_invalid("Missing ModelSpec")
    if not request.metadata_field:
        raise make_invalid(
            "GetModelMetadataRequest must specify at least one metadata_field"
        )
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise make_invalid(f"Metadata field {field} is not supported")
    model.check_spec(request.model_spec)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = model.name
    response.model_spec.version.value = model.version
    response.metadata[SIGNATURE_DEF].Pack(make_signature_map(model))
    return response


def make_signature_map(model: LoadedModel) -> get_model_metadata_pb2.SignatureDefMap:
    """Returns the model's signatures as the message that metadata answers hold."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in model.signature_defs.items():
        signatures.signature_def[key].CopyFrom(definition)
    return signatures
