"""Both listeners of the development server, in threads of this process."""

import errno
import pathlib
import socket
import threading
from concurrent import futures
from types import TracebackType

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from werkzeug.serving import make_server

from tf_multimodal.serving.server.grpc_service import ModelService, PredictionService
from tf_multimodal.serving.server.loaded_model import LoadedModel
from tf_multimodal.serving.server.rest_service import RestService

HOST = "127.0.0.1"  # nobody but this machine
MAX_REQUEST_MB = 64  # 32 rows with images of 2 MB, or of 1.5 MB in base64
_THREADS = 8  # requests that gRPC answers at once
_GRACE_S = 5.0  # for the requests in flight when the server ends


class DevelopmentServer:
    """Speaks TensorFlow Serving's gRPC and REST over one loaded model.

    For development and tests: one process, no batching of requests, no polling for
    newer versions. A context manager; the listeners answer from entry to exit.

    Attributes:
        model: what is served.
        host: the address of both listeners.
        rest_port: of HTTP, chosen by the system where 0 was asked for.
        grpc_port: of gRPC, likewise.
    """

    def __init__(
        self,
        model_dir: str | pathlib.Path,
        name: str | None = None,
        host: str = HOST,
        rest_port: int = 0,
        grpc_port: int = 0,
        max_request_mb: float = MAX_REQUEST_MB,
    ) -> None:
        """Loads the model and takes the ports.

        Args:
            model_dir: the folder that holds the versions (the newest is loaded), or
                one version of it.
            name: what callers ask for; None: made of the folder's name.
            host: address to listen on.
            rest_port: of HTTP; 0: any free one.
            grpc_port: of gRPC; 0: any free one.
            max_request_mb: limit of a request in MB (2^20 bytes). A larger one is
                answered with 413 and RESOURCE_EXHAUSTED.

        Raises:
            ValueError: there is no SavedModel, or a port or `host` cannot be had.
            OSError: the model's folder cannot be read.
        """
        self.host = host
        self._socket = _bind(host, rest_port)
        self.rest_port = self._socket.getsockname()[1]
        max_bytes = int(max_request_mb * 2**20)
        self._grpc = grpc.server(
            futures.ThreadPoolExecutor(_THREADS),
            options=[
                ("grpc.max_receive_message_length", max_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # else two servers share a port silently
            ],
        )
        try:
            self.grpc_port = _add_port(self._grpc, host, grpc_port)
            self.model = LoadedModel(model_dir, name)
        except (ValueError, OSError):
            self._socket.close()
            raise
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self.model), self._grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self.model), self._grpc
        )
        # Werkzeug ends the process when a port is taken: it gets one that we took.
        self._rest = make_server(
            host,
            self.rest_port,
            RestService(self.model, max_bytes),
            threaded=True,
            fd=self._socket.fileno(),
        )
        self._socket.close()  # it holds a copy
        self._rest_thread = threading.Thread(target=self._rest.serve_forever)

    def __enter__(self) -> "DevelopmentServer":
        self._grpc.start()
        self._rest_thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rest.shutdown()
        self._grpc.stop(_GRACE_S).wait()
        self._rest_thread.join()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.getaddrinfo(host, port, family)
    except (socket.gaierror, UnicodeError) as error:  # no such name; none at all
        raise ValueError(_explain_host(host)) from error
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(_explain_host(host)) from error
        reason = str(error.strerror).split(" (")[0]  # Python adds the address
        raise ValueError(_explain_port(host, "rest_port", port, reason)) from error


def _add_port(server: grpc.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:  # its message is the address alone
        reason = "it is in use or not allowed"
        raise ValueError(_explain_port(host, "grpc_port", port, reason)) from error


def _explain_host(host: str) -> str:
    return (
        f"Cannot listen on {host}: this machine has no such address. Give --host one "
        "of its own: 127.0.0.1 for itself alone, 0.0.0.0 for all of its addresses."
    )


def _explain_port(host: str, flag: str, port: int, why: str) -> str:
    return (
        f"Cannot listen on {host}, port {port}: {why}. End the program that has the "
        f"port, or choose another with --{flag}; 0 takes any free one."
    )
