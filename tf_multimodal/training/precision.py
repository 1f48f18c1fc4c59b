"""Chooses the dtype policy and XLA, and says why."""

import pathlib

import keras
import tensorflow as tf

CPUINFO = pathlib.Path("/proc/cpuinfo")
CPU_FLAGS = ("avx512_bf16", "amx_bf16")


def choose_dtype_policy(setting: str) -> tuple[str, str]:
    """Returns the name of a Keras dtype policy and the reason for it.

    Args:
        setting: `config.dtype_policy`; `auto` looks at the devices.
    """
    if setting != "auto":
        return setting, "config.dtype_policy"
    gpus = _list_gpus()
    if gpus:
        names = ", ".join(name for name, _ in gpus)
        if all(capability >= (8, 0) for _, capability in gpus):
            return "mixed_bfloat16", f"{names} computes in bfloat16"
        return "mixed_float16", f"{names} has no bfloat16; the loss is scaled"
    flags = _read_cpu_flags()
    found = [flag for flag in CPU_FLAGS if flag in flags]
    if found:
        return "mixed_bfloat16", f"no GPU; the CPU has {' and '.join(found)}"
    return "float32", f"no GPU; the CPU has none of {', '.join(CPU_FLAGS)}"


def choose_jit_compile(
    setting: str,
    model: keras.Model,
    deterministic: bool = False,
    num_replicas: int = 1,
) -> tuple[bool, str]:
    """Returns whether XLA compiles the training step, and the reason.

    Keras turns XLA off without a word when a layer does not support it; here
    the layer is named.

    Args:
        setting: `config.jit_compile`; `auto` looks at the devices and the layers.
        model: the model to train.
        deterministic: whether op determinism is on.
        num_replicas: of the model.

    Raises:
        ValueError: `on`, but a layer cannot be compiled.
    """
    if setting == "off":
        return False, "config.jit_compile"
    blocking = [
        layer.path
        for layer in model._flatten_layers()
        if not getattr(layer, "supports_jit", True)
    ]
    if setting == "on":
        if blocking:
            raise ValueError(
                "config.jit_compile='on', but these layers cannot be compiled by "
                f"XLA here: {', '.join(blocking)}. Set it to 'auto' or 'off'."
            )
        return True, "config.jit_compile"
    if keras.backend.backend() == "jax":
        return True, "JAX is slow without"
    if num_replicas > 1:
        return False, "several replicas: TensorFlow's collectives stay outside of XLA"
    if not tf.config.list_physical_devices("GPU"):
        return False, "on a CPU XLA is slower than TensorFlow's own kernels"
    if blocking:
        return False, f"XLA cannot compile {', '.join(blocking)}"
    if deterministic:
        return False, "op determinism is on"
    return True, "a GPU, and every layer can be compiled"


def _list_gpus() -> list[tuple[str, tuple[int, ...]]]:
    """Returns the name and the CUDA compute capability of each GPU."""
    if keras.backend.backend() == "jax":
        import jax

        return [
            (gpu.device_kind, tuple(map(int, gpu.compute_capability.split("."))))
            for gpu in jax.local_devices()
            if gpu.platform == "gpu"
        ]
    details = [
        tf.config.experimental.get_device_details(gpu)
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return [
        (str(d.get("device_name", "GPU")), d.get("compute_capability", (0, 0)))
        for d in details
    ]


def _read_cpu_flags() -> set[str]:
    if not CPUINFO.exists():
        return set()
    for line in CPUINFO.read_text(encoding="utf-8").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
