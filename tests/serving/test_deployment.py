"""The files that start the official image, read back as YAML."""

import dataclasses
import json
import os
import pathlib
import re
import shlex

import pytest
import yaml

from tf_multimodal.serving.bundle import deployment, readme
from tf_multimodal.serving.bundle.served_model import ServedModel
from tf_multimodal.serving.bundle.server_config import CPUS, make_config_files

# `git show 2.20.0:tensorflow_serving/model_servers/main.cc` in tensorflow/serving
# defines these flags, among others.
SERVER_FLAGS = {
    "port",
    "rest_api_port",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
}

MODEL = ServedModel(
    name="two_dogs",
    model_dir=pathlib.Path("/runs/two dogs/export"),
    versions=(2, 10),
    version=10,
    is_pinned=False,
    classes=("dog", "no dog"),
    signatures=("serving_default",),
    allowed_batch_sizes=(1, 2, 4, 8),
    server_version="2.20.0",
    size_bytes=2**20,
    max_image_px=0,
)
OUTPUT = pathlib.Path("/bundles/one")


def change(**fields):
    return dataclasses.replace(MODEL, **fields)


def read_service(model):
    (service,) = yaml.safe_load(deployment.make_compose(model, OUTPUT))[
        "services"
    ].values()
    return service


def read_documents(model=MODEL):
    """Returns claim, config map, deployment and service."""
    return list(yaml.safe_load_all(deployment.make_kubernetes(model)))


def test_compose():
    assert "name: two-dogs\n" in deployment.make_compose(MODEL, OUTPUT)
    service = read_service(MODEL)
    assert service["image"] == "tensorflow/serving:2.20.0"
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    for mount in service["volumes"]:
        assert mount["read_only"]
        assert not mount["bind"]["create_host_path"]
        assert mount["source"].startswith(".")
    models, config = service["volumes"]
    assert models["target"] == "/models/two_dogs"
    assert os.path.normpath(OUTPUT / models["source"]) == str(MODEL.model_dir)
    assert os.path.normpath(OUTPUT / config["source"]) == str(OUTPUT)
    check_flags(service["command"], config["target"])
    assert service["init"] is True  # the server ignores SIGTERM as process 1
    assert service["user"] == "65534:65534" and service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "$" not in service["healthcheck"]["test"][-1]  # Compose would replace it


def check_flags(flags, config_dir):
    files = make_config_files(MODEL)
    values = dict(flag.removeprefix("--").split("=") for flag in flags)
    assert set(values) == SERVER_FLAGS
    for value in values.values():
        if value.startswith("/"):
            assert value.startswith(config_dir + "/")
            assert pathlib.Path(value).name in files


def test_kubernetes():
    documents = read_documents()
    claim, config, deployed, service = documents
    assert [d["kind"] for d in documents] == [
        "PersistentVolumeClaim",
        "ConfigMap",
        "Deployment",
        "Service",
    ]
    assert {d["metadata"]["name"] for d in (deployed, service)} == {"two-dogs"}
    assert config["data"] == make_config_files(MODEL)
    template = deployed["spec"]["template"]
    assert deployed["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "tensorflow/serving:2.20.0"
    check_flags(container["args"], "/config")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    for probe in ("startupProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        assert get == {"path": "/v1/models/two_dogs", "port": "rest"}
    # Alive as long as it takes connections, on the port that probes do not load.
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    for amounts in container["resources"].values():
        assert set(amounts) == {"cpu", "memory"}
    # The claim is for one node: a rolling update would wait for itself.
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert deployed["spec"]["strategy"] == {"type": "Recreate"}
    check_is_restricted(pod)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    assert mounts["models"]["mountPath"] == "/models/two_dogs"
    assert mounts["models"]["readOnly"]
    volumes = {v["name"]: v for v in pod["volumes"]}
    assert set(volumes) == set(mounts)
    claimed = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claimed == claim["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    stopping = container["lifecycle"]["preStop"]["exec"]["command"]
    assert int(stopping[-1]) < pod["terminationGracePeriodSeconds"]


def check_is_restricted(pod):
    """Holds a pod against the Pod Security Standard of that name.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    for volume in pod["volumes"]:
        kinds = {"configMap", "emptyDir", "persistentVolumeClaim"}
        assert volume.keys() - {"name"} <= kinds


@pytest.mark.parametrize(
    "size_gib, image_px, memory",
    [(0.01, 0, (2, 5)), (2.9, 0, (7, 15)), (0.01, 71_500_000, (2, 5 + CPUS))],
)
def test_memory_grows_with_the_model_and_its_images(size_gib, image_px, memory):
    """71.5 million pixels take a GiB on each core that decodes."""
    model = change(size_bytes=int(size_gib * 2**30), max_image_px=image_px)
    _, _, deployed, _ = read_documents(model)
    (container,) = deployed["spec"]["template"]["spec"]["containers"]
    resources = container["resources"]
    assert resources["requests"]["memory"] == f"{memory[0]}Gi"
    assert resources["limits"]["memory"] == f"{memory[1]}Gi"


@pytest.mark.parametrize(
    "name, dns_name",
    [
        ("two_dogs", "two-dogs"),
        ("A.b", "a-b"),
        ("__", "model"),
        ("2cats", "m-2cats"),
        ("_2", "m-2"),
        ("x" * 80, "x" * 50),
    ],
)
def test_dns_names(name, dns_name):
    assert deployment.make_dns_name(name) == dns_name
    # Of a service: RFC 1035, https://kubernetes.io/docs/concepts/overview/
    # working-with-objects/names/
    assert re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", dns_name)


def test_a_service_is_named_after_the_model():
    *_, service = read_documents(change(name="2cats"))
    assert service["metadata"]["name"] == "m-2cats"


def test_the_volume_is_filled_by_a_pod_that_is_let_in():
    section = readme.make_readme(MODEL).split("## Kubernetes")[1]
    blocks = re.findall("```\n(.*?)```", section, re.DOTALL)
    words = shlex.split("\n".join(blocks))
    (overrides,) = [word for word in words if word.startswith("--overrides=")]
    pod = json.loads(overrides.removeprefix("--overrides="))["spec"]
    check_is_restricted(pod)
    # The claim is for one node: no server while the volume is filled.
    assert words.index("--replicas=0") < words.index(overrides)
    assert words.index(overrides) < words.index("--replicas=1")
    (container,) = pod["containers"]
    assert container["volumeMounts"][0]["mountPath"] == "/models/two_dogs"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "two-dogs-models"


def test_a_path_with_a_dollar_is_no_variable_to_compose():
    service = read_service(change(model_dir=pathlib.Path("/price $HOME")))
    source = service["volumes"][0]["source"]
    assert source == "../../price $$HOME"  # how Compose writes one dollar
