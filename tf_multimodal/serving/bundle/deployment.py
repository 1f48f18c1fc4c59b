"""The files that start the official image: Docker Compose and Kubernetes.

The image is Ubuntu 22.04 with `tensorflow_model_server` and certificates, by
tensorflow_serving/tools/docker/Dockerfile of release 2.20.0. It has bash and grep,
but no curl, wget, Python or grpcurl, so the health check speaks HTTP with bash's
/dev/tcp. Its user is root; nothing in it needs that, so the files name another.
"""

import math
import os
import pathlib
import re
from typing import Any

import yaml

from tf_multimodal.serving.bundle.served_model import ServedModel
from tf_multimodal.serving.bundle.server_config import (
    CONFIG_DIR,
    CPUS,
    GRPC_PORT,
    METRICS_PATH,
    MODELS_DIR,
    REST_PORT,
    make_config_files,
    make_flags,
)

COMPOSE_FILE = "docker-compose.yaml"
KUBERNETES_FILE = "kubernetes.yaml"
USER = 65534  # nobody
BYTES_PER_PX = 15  # of an image while it is decoded and resized: uint8, float32
GIB = 1024**3
# The server ends at once where SIGTERM reaches it, and ignores it as process 1
# (github.com/tensorflow/serving/issues/1853): requests get this long to finish.
DRAIN_SECONDS = 10
START_SECONDS = 300
# What a namespace with the Pod Security Standard "restricted" asks for.
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def make_compose(model: ServedModel, output_dir: pathlib.Path) -> str:
    """Returns docker-compose.yaml; its paths are relative to `output_dir`.

    Both ports are published to this machine alone: the server asks nobody who
    they are.
    """
    source = os.path.relpath(model.model_dir, output_dir.resolve())
    _, memory = _compute_memory_gib(model)
    service = {
        "image": get_image(model),
        "entrypoint": ["/usr/bin/tensorflow_model_server"],
        "command": make_flags(),
        "ports": [f"127.0.0.1:{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
        "volumes": [
            _make_mount(source, f"{MODELS_DIR}/{model.name}"),
            _make_mount(".", CONFIG_DIR),
        ],
        "healthcheck": {
            "test": ["CMD", "/bin/bash", "-c", make_health_script(model.name)],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{START_SECONDS}s",
        },
        "init": True,  # passes SIGTERM on
        "restart": "unless-stopped",
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "deploy": {
            "resources": {"limits": {"cpus": str(CPUS), "memory": f"{memory}g"}}
        },
    }
    project = {"name": make_dns_name(model.name), "services": {"serving": service}}
    return _dump(project)


def make_kubernetes(model: ServedModel) -> str:
    """Returns kubernetes.yaml: claim, config map, deployment and service."""
    name = make_dns_name(model.name)
    labels = {"app.kubernetes.io/name": name}
    storage = {"storage": f"{_compute_storage_gib(model)}Gi"}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": storage},
    }
    scrape = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(REST_PORT),
        "prometheus.io/path": METRICS_PATH,
    }
    deployment = {
        "replicas": 1,
        # A rolling update starts the new pod first. On another node that would wait
        # for the claim, which the old pod holds, and the update would hang.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels, "annotations": scrape},
            "spec": _make_pod(model, name),
        },
    }
    service = {
        "selector": labels,
        "ports": [
            {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc"},
            {"name": "rest", "port": REST_PORT, "targetPort": "rest"},
        ],
    }

    def make(api: str, kind: str, suffix: str, **content: Any) -> dict[str, Any]:
        metadata = {"name": name + suffix, "labels": labels}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}

    return _dump(
        make("v1", "PersistentVolumeClaim", "-models", spec=claim),
        make("v1", "ConfigMap", "-config", data=make_config_files(model)),
        make("apps/v1", "Deployment", "", spec=deployment),
        make("v1", "Service", "", spec=service),
    )


def get_image(model: ServedModel) -> str:
    """Returns the official image, with its version."""
    return f"tensorflow/serving:{model.server_version}"


def make_dns_name(name: str) -> str:
    """Returns a name that Kubernetes and Compose take, about 50 characters.

    A service's is the strictest: RFC 1035, which wants a letter first.
    """
    name = re.sub(r"[^a-z0-9]+", "-", name.lower())[:50].strip("-") or "model"
    return name if name[0].isalpha() else f"m-{name}"


def make_health_script(name: str, port: int = REST_PORT) -> str:
    """Returns bash that ends with 0 if a version of the model answers requests."""
    request = (
        f"GET /v1/models/{name} HTTP/1.1\\r\\n"
        "Host: localhost\\r\\nConnection: close\\r\\n\\r\\n"
    )
    return (
        f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf '{request}' >&3 "
        "&& grep -q '\"AVAILABLE\"' <&3"
    )


def _make_pod(model: ServedModel, name: str) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 5,
        "securityContext": POD_SECURITY,
        "containers": [_make_container(model)],
        "volumes": [
            {
                "name": "models",
                "persistentVolumeClaim": {"claimName": f"{name}-models"},
            },
            {"name": "config", "configMap": {"name": f"{name}-config"}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _make_container(model: ServedModel) -> dict[str, Any]:
    least, most = _compute_memory_gib(model)
    models = f"{MODELS_DIR}/{model.name}"
    return {
        "name": "serving",
        "image": get_image(model),
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": make_flags(),
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "rest", "containerPort": REST_PORT},
        ],
        **_make_probes(model),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(DRAIN_SECONDS)]}}},
        "resources": {
            "requests": {"cpu": str(CPUS // 2), "memory": f"{least}Gi"},
            "limits": {"cpu": str(CPUS), "memory": f"{most}Gi"},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "models", "mountPath": models, "readOnly": True},
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _make_probes(model: ServedModel) -> dict[str, Any]:
    # The port opens when the first version is loaded, and stays open while a newer
    # one loads: an answer here means ready.
    probe = {"path": f"/v1/models/{model.name}", "port": "rest"}
    return {
        "startupProbe": {
            "httpGet": probe,
            "periodSeconds": 5,
            "failureThreshold": START_SECONDS // 5,
        },
        "readinessProbe": {"httpGet": probe, "periodSeconds": 5, "timeoutSeconds": 5},
        # Not by HTTP: a server with a full queue is busy, not dead.
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 10},
    }


def _make_mount(source: str, target: str) -> dict[str, Any]:
    # Compose takes a source for a path only if it begins with a dot or a slash.
    source = source if source.startswith(".") else f"./{source}"
    return {
        "type": "bind",
        "source": source.replace("$", "$$"),  # else Compose looks for a variable
        "target": target,
        "read_only": True,
        # A folder that is missing is an error, not an empty folder of root's.
        "bind": {"create_host_path": False},
    }


def _compute_memory_gib(model: ServedModel) -> tuple[int, int]:
    """Returns request and limit; two versions are loaded while one replaces another.

    The limit has room for the largest image that is decoded, on every core.
    """
    weights = math.ceil(2 * model.size_bytes / GIB)
    images = math.ceil(CPUS * model.max_image_px * BYTES_PER_PX / GIB)
    return weights + 1, 2 * weights + 3 + images


def _compute_storage_gib(model: ServedModel) -> int:
    return math.ceil(5 * model.size_bytes / GIB)


class _Dumper(yaml.SafeDumper):
    """Writes what repeats in full, and text of many lines as it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _dump(*documents: Any) -> str:
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000
    )
