"""The body of an HTTP request, read up to a limit."""

import gzip
import io
import zlib
from collections.abc import Callable

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request

from tf_multimodal.serving.server.request_error import make_invalid

_PIECE_BYTES = 2**20  # what is read at once, and so at most over the limit


def read_body(request: Request, max_bytes: int) -> bytes:
    """Returns the body, uncompressed where the request says that it is gzip.

    Args:
        request: its body may have a Content-Length or come in chunks.
        max_bytes: limit of the body as sent, and of what it holds.

    Raises:
        RequestEntityTooLarge: there is more.
        ClientDisconnected: there is less than Content-Length says.
        RequestError: broken chunks or broken gzip.
    """
    if (request.content_length or 0) > max_bytes:
        raise RequestEntityTooLarge
    try:
        body = _read_up_to(max_bytes, request.stream.read)
        # TensorFlow Serving looks for the word too, and knows no other encoding.
        if "gzip" in request.headers.get("Content-Encoding", ""):
            unpacked = gzip.GzipFile(fileobj=io.BytesIO(body))
            body = _read_up_to(max_bytes, unpacked.read)
    except (OSError, EOFError, zlib.error) as error:
        raise make_invalid(f"The request's body cannot be read: {error}") from error
    return body


def _read_up_to(max_bytes: int, read: Callable[[int], bytes]) -> bytes:
    body = bytearray()
    while piece := read(_PIECE_BYTES):
        body += piece
        if len(body) > max_bytes:
            raise RequestEntityTooLarge
    return bytes(body)
