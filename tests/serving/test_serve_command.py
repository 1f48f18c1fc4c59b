"""How the development server starts, ends, and says why it does not start."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tf_multimodal.serving.server.development_server import DevelopmentServer

ROOT = pathlib.Path(__file__).parents[2]
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def server(servable):
    with DevelopmentServer(servable, "pairs") as server:
        yield server


def test_a_port_in_use_is_named(server, servable):
    for port in ("rest_port", "grpc_port"):
        with pytest.raises(ValueError, match="in use") as error:
            DevelopmentServer(servable, "pairs", **{port: getattr(server, port)})
        assert f"--{port}" in str(error.value)


@pytest.mark.parametrize("host", ["1.2.3.4", "nowhere.invalid", "a..b"])
def test_a_host_that_is_not_ours_is_named(servable, host):
    """And nobody is told to end a program."""
    with pytest.raises(ValueError, match=f"Cannot listen on {host}") as error:
        DevelopmentServer(servable, "pairs", host)
    assert "--host" in str(error.value) and "port" not in str(error.value)


def test_a_model_that_cannot_be_served_is_named(servable, tmp_path):
    with pytest.raises(ValueError, match="no SavedModel in"):
        DevelopmentServer(tmp_path, "pairs")
    for name in ("a/b", "사진", ".", "--name=x"):
        with pytest.raises(ValueError, match=f"'{name}' cannot be a model's name"):
            DevelopmentServer(servable, name)
    (tmp_path / "1").mkdir()
    graph = (servable / "1" / "saved_model.pb").read_bytes()
    (tmp_path / "1" / "saved_model.pb").write_bytes(graph)
    with pytest.raises(ValueError, match="1 does not load: ") as error:
        DevelopmentServer(tmp_path, "pairs")
    assert "python -m export" in str(error.value)


def make_command(servable, *flags):
    command = [sys.executable, "-m", "export.serve", f"--model={servable}"]
    return [*command, "--name=pairs", "--grpc_port=0", *flags]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(servable, number):
    process = subprocess.Popen(
        make_command(servable, "--rest_port=0"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = next(line for line in process.stdout if "  REST  " in line).split()[1]
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            assert json.load(response)["model_version_status"][0]["version"] == "1"
        process.send_signal(number)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 0 and output.endswith("Ended.\n")


def run_to_its_end(servable, *flags):
    """Returns the last line on standard error of a command that fails."""
    result = subprocess.run(
        make_command(servable, *flags),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_the_command_names_a_port_in_use(servable):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = run_to_its_end(servable, f"--rest_port={port}")
    assert f"port {port}: Address already in use" in error


@pytest.mark.slow
def test_the_command_names_a_folder_that_cannot_be_read(tmp_path):
    folder = tmp_path / ("x" * 300)  # too long: an error for root as well
    error = run_to_its_end(folder, "--rest_port=0")
    assert error.startswith("python -m export.serve: ") and str(folder) in error
