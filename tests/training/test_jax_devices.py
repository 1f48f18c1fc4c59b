"""Devices and processes on JAX: what is refused, and how a process ends."""

import json
import signal
import types

import jax
import keras
import pytest

from tf_multimodal.training import precision
from tf_multimodal.training.distribution import jax_processes
from tf_multimodal.training.distribution.jax_devices import JaxDevices
from tf_multimodal.training.interruption import Interrupted, LostWorker

CHECKS = """
import json, os
os.environ.update(
    KERAS_BACKEND="jax", XLA_FLAGS="--xla_force_host_platform_device_count=6"
)
import keras, numpy as np
from tf_multimodal.config import get_default_config
from tf_multimodal.training import precision
from tf_multimodal.training.distribution.jax_devices import JaxDevices

def get_error(function, *arguments):
    try:
        return repr(function(*arguments))
    except ValueError as error:
        return str(error)

def make_model(width, name="feedforward_intermediate_dense"):
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(width, name=name)(inputs))

config, answer = get_default_config(), {}
devices = JaxDevices(2)
answer["shards"] = get_error(JaxDevices, 4)
answer["batch"] = get_error(devices.split_batch, 32)
answer["share"] = devices.split_batch(33)
with devices.scope():
    model = make_model(8)
    answer["indivisible"] = get_error(make_model, 9)
    answer["prepared"] = get_error(devices.prepare_model, model, config)
    whole = make_model(8, "other")
    answer["whole"] = get_error(devices.prepare_model, whole, config)
answer["spec"] = [str(v.value.sharding.spec) for v in model.variables]
rows = np.arange(12, dtype="float32").reshape(6, 2)
kernel, bias = devices.read(model.variables)
model.call_rows = model.stateless_call
model.stateless_call = lambda t, n, x: model.call_rows(t, n, x["rows"])
difference = devices.predict(model, {"rows": rows}) - (rows @ kernel + bias)
answer["difference"] = float(abs(difference).max())
devices.assign(model.variables, [kernel + 1, bias])
answer["assigned"] = float((devices.read(model.variables)[0] - kernel).mean())
answer["split"] = [str(v.value.sharding.spec) for v in model.variables]
config.train.synchronized_batch_norm = False
answer["norm"] = get_error(devices.prepare_model, model, config)
answer["jit"] = precision.choose_jit_compile("auto", model)
answer["alone"] = [devices.gather(b"a").count(b"a"), devices.agree(True)]
print(json.dumps(answer))
"""


@pytest.mark.slow
def test_devices(run_command):
    answer = json.loads(run_command("-c", CHECKS).stdout.splitlines()[-1])
    assert "model_shards=4 must divide the devices of a process" in answer["shards"]
    assert "Received: 6" in answer["shards"]
    assert "multiple of the 3 replicas" in answer["batch"]
    assert "Received: 32. Nearest: 30 or 33" in answer["batch"]
    assert answer["share"] == [0, 33]
    assert "model_shards=2 must divide the heads" in answer["indivisible"]
    assert "dense/kernel of shape (2, 9)" in answer["indivisible"]
    assert answer["prepared"] == "None"
    assert "the model has none" in answer["whole"]
    assert "synchronized_batch_norm=False" in answer["norm"]
    for key in ("spec", "split"):
        assert answer[key] == ["P(None, 'model')", "P('model',)"]
    assert answer["difference"] < 1e-5 and answer["assigned"] == pytest.approx(1)
    assert answer["jit"][0] is True
    assert answer["alone"] == [1, True]


def test_other_backend():
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax before Keras is imported"):
        JaxDevices()


@pytest.mark.parametrize(
    ("address", "processes", "process"),
    [
        ("", "2", "0"),
        ("10.0.0.1", "2", "0"),
        ("10.0.0.1:1234", "", "0"),
        ("10.0.0.1:1234", "2", "-1"),
        ("10.0.0.1:1234", "2", "2"),
    ],
)
def test_wrong_variables(monkeypatch, address, processes, process):
    monkeypatch.setenv("KERAS_DISTRIBUTION_JOB_ADDRESSES", address)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", processes)
    monkeypatch.setenv("KERAS_DISTRIBUTION_PROCESS_ID", process)
    monkeypatch.setattr(jax.distributed, "initialize", pytest.fail)
    with pytest.raises(ValueError, match="HOST:PORT") as error:
        jax_processes.join_processes()
    assert f"'KERAS_DISTRIBUTION_PROCESS_ID': '{process}'" in str(error.value)


@pytest.mark.parametrize(
    ("error", "raised", "codes"),
    [
        (RuntimeError("UNKNOWN: Gloo all-reduce failed: reset"), LostWorker, [75]),
        (ValueError("INTERNAL: NCCL operation failed"), LostWorker, [75]),
        (ValueError("a bad row"), ValueError, [1]),
        (OSError("ABORTED: by the disk"), OSError, [1]),
        (Interrupted(signal.SIGTERM, 8), Interrupted, []),
    ],
)
def test_errors_among_processes(monkeypatch, error, raised, codes):
    registered = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        jax_processes.atexit, "register", lambda _, code: registered.append(code)
    )
    with pytest.raises(raised) as caught, jax_processes.lost_worker_raised():
        try:
            raise error
        finally:
            if raised is LostWorker:  # as `fit` does with what the step had taken
                raise RuntimeError("Array has been deleted")
    assert registered == codes
    assert (raised is LostWorker) == ("Another process" in str(caught.value))


@pytest.mark.parametrize(
    ("capability", "expected"), [("9.0", "mixed_bfloat16"), ("7.5", "mixed_float16")]
)
def test_dtype_policy_of_jax_gpus(monkeypatch, capability, expected):
    gpu = types.SimpleNamespace(
        platform="gpu", device_kind="Fast 1", compute_capability=capability
    )
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(jax, "local_devices", lambda: [gpu])
    policy, why = precision.choose_dtype_policy("auto")
    assert policy == expected and "Fast 1" in why


def test_one_process_keeps_its_errors(monkeypatch):
    monkeypatch.setattr(jax_processes.atexit, "register", pytest.fail)
    with pytest.raises(RuntimeError, match="^Gloo"), jax_processes.lost_worker_raised():
        raise RuntimeError("Gloo is on its own")


@pytest.mark.slow
def test_abort_asks_for_a_restart(run_command):
    script = (
        "import os\n"
        "from tf_multimodal.training.distribution import jax_processes\n"
        "jax_processes.end_on_abort()\n"
        "os.abort()\n"
    )
    result = run_command("-c", script, expect=75)
    assert "Another process of the run is gone" in result.stderr
