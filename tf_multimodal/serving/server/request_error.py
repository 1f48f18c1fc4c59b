"""What a caller did wrong, in TensorFlow Serving's codes and words."""

import grpc
import tensorflow as tf

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HEADING_END = "<stack traces unavailable>\n"


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: as TensorFlow Serving's.
        message: its wording where it has one for the case.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def make_invalid(message: str) -> RequestError:
    """Returns the error of a request that is wrong whatever the server's state."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def convert_error(error: tf.errors.OpError) -> RequestError:
    """Returns TensorFlow's error as a request's: the two count their codes alike."""
    code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
    # The Python layer puts a heading before the message that a server would send.
    return RequestError(code, error.message.rpartition(_HEADING_END)[2])
