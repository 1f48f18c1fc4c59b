"""Precision and XLA: what is chosen on which machine, and why."""

import keras
import pytest
import tensorflow as tf

from tf_multimodal.training import precision


def fake_gpus(monkeypatch, capability, name="Fast 1"):
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: ["gpu"] if capability else [],
    )
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"device_name": name, "compute_capability": capability},
    )


@pytest.mark.parametrize(
    ("capability", "flags", "expected", "said"),
    [
        ((9, 0), "", "mixed_bfloat16", "Fast 1"),
        ((7, 0), "avx512_bf16", "mixed_float16", "loss is scaled"),
        (None, "sse avx512_bf16", "mixed_bfloat16", "avx512_bf16"),
        (None, "amx_bf16", "mixed_bfloat16", "amx_bf16"),
        (None, "sse avx512f", "float32", "none of"),
    ],
)
def test_dtype_policy(monkeypatch, tmp_path, capability, flags, expected, said):
    fake_gpus(monkeypatch, capability)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(precision, "CPUINFO", cpuinfo)
    policy, why = precision.choose_dtype_policy("auto")
    assert policy == expected and said in why
    assert precision.choose_dtype_policy("float32")[0] == "float32"


def make_model(supports_jit):
    layer = keras.layers.Dense(2, name="tall")
    layer.supports_jit = supports_jit
    return keras.Sequential([keras.Input((3,)), layer])


def test_jit_compile(monkeypatch):
    fake_gpus(monkeypatch, None)
    assert precision.choose_jit_compile("auto", make_model(True))[0] is False
    assert precision.choose_jit_compile("on", make_model(True))[0] is True
    fake_gpus(monkeypatch, (9, 0))
    assert precision.choose_jit_compile("auto", make_model(True))[0] is True
    assert precision.choose_jit_compile("auto", make_model(True), True)[0] is False
    jit, why = precision.choose_jit_compile("auto", make_model(True), num_replicas=2)
    assert jit is False and "several replicas" in why
    jit, why = precision.choose_jit_compile("auto", make_model(False))
    assert jit is False and "tall" in why
    assert precision.choose_jit_compile("off", make_model(True))[0] is False
    with pytest.raises(ValueError, match="tall"):
        precision.choose_jit_compile("on", make_model(False))
