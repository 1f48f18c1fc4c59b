"""Chooses the devices of a run."""

import ml_collections

from tf_multimodal.training.distribution.devices import Devices


def make_devices(config: ml_collections.ConfigDict) -> Devices:
    """Returns what `config.distribution` names.

    Args:
        config: the whole configuration.

    Raises:
        ValueError: the devices are not to be had; the message says what is missing.
    """
    if config.distribution == "mirrored":
        from tf_multimodal.training.distribution.tensorflow_replicas import (
            MirroredReplicas,
        )

        return MirroredReplicas()
    if config.distribution == "multiworker":
        from tf_multimodal.training.distribution.tensorflow_replicas import (
            WorkerReplicas,
        )

        return WorkerReplicas()
    if config.distribution == "jax":
        from tf_multimodal.training.distribution.jax_devices import JaxDevices

        return JaxDevices(config.model_shards)
    return Devices()
