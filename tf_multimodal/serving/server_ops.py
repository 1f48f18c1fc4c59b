"""Which operations a SavedModel needs, and whether TensorFlow Serving has them.

    python -m tf_multimodal.serving.server_ops > tf_multimodal/serving/server_ops.txt

makes the list again, where the two packages that its sections name are installed.
"""

import configparser
import dataclasses
import json
import pathlib
from importlib import metadata

from tf_multimodal.serving.model_file import read_meta_graph
from tf_multimodal.serving.versions import EXTRA_DIR

OLDEST_SERVER = "2.20.0"  # of TensorFlow Serving; what server_ops.txt was made for
OPS_FILE = "server_ops.json"
LIST_PATH = pathlib.Path(__file__).with_name("server_ops.txt")
PACKAGES = ("tensorflow", "tensorflow-text")  # the sections of the list, in order

# Kernels of the Python package which the server may lack: those that call back into
# Python, those of XLA, and those that only the runtime itself puts into a graph.
LEFT_OUT = ("PyFunc", "EagerPyFunc", "Xla", "_")

HEADER = """\
# Operations that TensorFlow Serving 2.20.0 runs on a CPU. Its server links
# TensorFlow's core and tensorflow_text:ops_lib (SUPPORTED_TENSORFLOW_OPS in
# tensorflow_serving/model_servers/BUILD of that release); these are the operations
# with a CPU kernel in the packages below. Left out are names that begin with
# {left_out}: they need Python, XLA or the runtime itself.
# Made by: python -m tf_multimodal.serving.server_ops
"""

ADVICE = {
    "CudnnRNN": "it was traced beside a GPU; export with CUDA_VISIBLE_DEVICES=-1",
    "PyFunc": "it calls Python, which the server does not have; write it with "
    "TensorFlow's own functions",
    "EagerPyFunc": "it calls Python, which the server does not have; write it with "
    "TensorFlow's own functions",
}
OTHER_ADVICE = "replace the layer or function that makes it by TensorFlow's own"


class UnsupportedOpsError(ValueError):
    """A graph needs operations that a stock TensorFlow Serving lacks."""


@dataclasses.dataclass(frozen=True)
class ServerOps:
    """What a SavedModel asks of the server; the content of `server_ops.json`.

    Attributes:
        ops: names of all operations in the graph and its functions, sorted.
        text_ops: those of them that TensorFlow Text brings.
        oldest_server: the TensorFlow Serving release that was checked and has them.
        checked_against: the packages that its operations were listed from.
    """

    ops: tuple[str, ...]
    text_ops: tuple[str, ...]
    oldest_server: str
    checked_against: tuple[str, ...]


def check_saved_model(folder: pathlib.Path) -> ServerOps:
    """Holds a SavedModel's operations against the server's, and writes them down.

    Nothing is written for a model that does not pass.

    Args:
        folder: the SavedModel; `assets.extra/server_ops.json` is written into it.

    Raises:
        UnsupportedOpsError: see `find_server_ops`.
    """
    checked = find_server_ops(folder)
    path = folder / EXTRA_DIR / OPS_FILE
    path.parent.mkdir(exist_ok=True)
    content = json.dumps(dataclasses.asdict(checked), indent=2)
    path.write_text(content + "\n", encoding="utf-8")
    return checked


def find_server_ops(folder: pathlib.Path) -> ServerOps:
    """Returns what a SavedModel asks of the server, which has all of it.

    The names of operations are compared, not their versions.

    Raises:
        UnsupportedOpsError: names each operation that the server lacks.
    """
    nodes, server = _find_nodes(folder), read_server_ops()
    (_, core), (_, text) = server.items()
    lacking = sorted(nodes.keys() - core - text)
    if lacking:
        raise UnsupportedOpsError(_describe_lacking({op: nodes[op] for op in lacking}))
    ops = tuple(sorted(nodes))
    text_ops = tuple(op for op in ops if op in text)
    return ServerOps(ops, text_ops, OLDEST_SERVER, tuple(server))


def read_ops(folder: pathlib.Path) -> list[str]:
    """Returns the names of the operations in a SavedModel, functions included."""
    return sorted(_find_nodes(folder))


def read_server_ops() -> dict[str, frozenset[str]]:
    """Returns the operations that the server has, by `package version`."""
    parser = configparser.ConfigParser(allow_no_value=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(LIST_PATH.read_text(encoding="utf-8"))
    return {section: frozenset(parser[section]) for section in parser.sections()}


def _find_nodes(folder: pathlib.Path) -> dict[str, str]:
    """Returns, by operation, the name of one node that is one."""
    graph = read_meta_graph(folder).graph_def
    nodes = {node.op: node.name for node in graph.node}
    for function in graph.library.function:
        place = function.signature.name
        nodes |= {node.op: f"{place}/{node.name}" for node in function.node_def}
    # A node may name a function where it would name an operation.
    functions = {function.signature.name for function in graph.library.function}
    return {op: name for op, name in nodes.items() if op not in functions}


def _describe_lacking(lacking: dict[str, str]) -> str:
    lines = []
    for op, node in lacking.items():
        families = (family for family in ADVICE if op.startswith(family))
        advice = ADVICE.get(next(families, ""), OTHER_ADVICE)
        lines.append(f"\n  {op}, node {node}: {advice}.")
    return (
        f"TensorFlow Serving {OLDEST_SERVER} does not have these operations of the "
        f"graph on a CPU:{''.join(lines)}"
    )


def _make_list() -> str:
    """Returns the content of `server_ops.txt` for the installed packages."""
    from tensorflow.python.framework import kernels

    def list_ops() -> set[str]:
        listed = kernels.get_all_registered_kernels().kernel
        return {k.op for k in listed if k.device_type in ("CPU", "DEFAULT")}

    core = list_ops()
    import tensorflow_text  # noqa: F401  (registers its operations)

    text = HEADER.format(left_out=", ".join(LEFT_OUT))
    for package, ops in zip(PACKAGES, (core, list_ops() - core), strict=True):
        kept = sorted(op for op in ops if not op.startswith(LEFT_OUT))
        text += f"\n[{package} {metadata.version(package)}]\n" + "\n".join(kept) + "\n"
    return text


if __name__ == "__main__":
    print(_make_list(), end="")
