"""The Kubernetes recipes of docs/scaling, held against their APIs."""

import importlib
import pathlib

import pytest
import yaml

from tf_multimodal.training.interruption import EXIT_INTERRUPTED

RECIPES = pathlib.Path(__file__).parents[1] / "docs" / "scaling"
# Field names of the APIs (jobset.x-k8s.io/v1alpha2, kubeflow.org/v1, batch/v1 and
# core/v1), as far as recipes of ours may use them; None: any value.
POD = {
    "metadata": {"annotations": None, "labels": None},
    "spec": {
        "restartPolicy": None,
        "terminationGracePeriodSeconds": None,
        "nodeSelector": None,
        "tolerations": None,
        "containers": {
            "name": None,
            "image": None,
            "workingDir": None,
            "command": None,
            "args": None,
            "env": {"name": None, "value": None, "valueFrom": None},
            "ports": {"name": None, "containerPort": None},
            "resources": {"limits": None, "requests": None},
            "volumeMounts": {"name": None, "mountPath": None, "readOnly": None},
        },
        "volumes": {
            "name": None,
            "persistentVolumeClaim": {"claimName": None, "readOnly": None},
            "emptyDir": {"medium": None, "sizeLimit": None},
        },
    },
}
JOB_RULE = {
    "action": None,
    "onExitCodes": {"containerName": None, "operator": None, "values": None},
    "onPodConditions": None,
}
JOB = {
    "completionMode": None,
    "completions": None,
    "parallelism": None,
    "backoffLimit": None,
    "podFailurePolicy": {"rules": JOB_RULE},
    "template": POD,
}
TOP = {"apiVersion": None, "kind": None, "metadata": {"name": None}}
JOBSET = {
    **TOP,
    "spec": {
        "network": {
            "enableDNSHostnames": None,
            "subdomain": None,
            "publishNotReadyAddresses": None,
        },
        "failurePolicy": {
            "maxRestarts": None,
            "restartStrategy": None,
            "rules": {
                "name": None,
                "action": None,
                "targetReplicatedJobs": None,
                "onJobFailureReasons": None,
                "onJobFailureMessagePatterns": None,
            },
        },
        "replicatedJobs": {"name": None, "replicas": None, "template": {"spec": JOB}},
    },
}
TFJOB = {
    **TOP,
    "spec": {
        "runPolicy": {
            "activeDeadlineSeconds": None,
            "backoffLimit": None,
            "cleanPodPolicy": None,
            "schedulingPolicy": None,
            "suspend": None,
            "ttlSecondsAfterFinished": None,
        },
        "successPolicy": None,
        "tfReplicaSpecs": {
            "Worker": {"replicas": None, "restartPolicy": None, "template": POD}
        },
    },
}


def find_unknown(value, fields, path="") -> list[str]:
    """Returns the paths of names that the API does not have."""
    if fields is None:
        return []
    if isinstance(value, list):
        return [p for item in value for p in find_unknown(item, fields, path)]
    assert isinstance(value, dict), f"{path} is not a mapping"
    found = [f"{path}.{name}" for name in value if name not in fields]
    for name in value.keys() & fields.keys():
        found += find_unknown(value[name], fields[name], f"{path}.{name}")
    return found


def read_recipe(name):
    return yaml.safe_load((RECIPES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "fields"), [("jobset.yaml", JOBSET), ("tfjob.yaml", TFJOB)]
)
def test_the_api_knows_every_field(name, fields):
    assert find_unknown(read_recipe(name), fields) == []


def test_an_unknown_field_is_found():
    recipe = read_recipe("jobset.yaml")
    recipe["spec"]["replicatedJobs"][0]["template"]["spec"]["tries"] = 3
    assert find_unknown(recipe, JOBSET) == [".spec.replicatedJobs.template.spec.tries"]


def get_pods():
    job = read_recipe("jobset.yaml")["spec"]["replicatedJobs"][0]["template"]["spec"]
    worker = read_recipe("tfjob.yaml")["spec"]["tfReplicaSpecs"]["Worker"]
    return {"jobset": job["template"]["spec"], "tfjob": worker["template"]["spec"]}


@pytest.mark.parametrize("name", ["jobset", "tfjob"])
def test_pods_have_time_volumes_and_known_flags(name):
    pod = get_pods()[name]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > 30  # Kubernetes' own default
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == volumes.keys()
    assert "persistentVolumeClaim" in volumes["shared"]
    flags = dict(argument.split("=", 1) for argument in container["args"])
    assert flags["--workdir"].startswith(mounts["shared"] + "/")
    module = flags["--config"].removesuffix(".py").replace("/", ".")
    config = importlib.import_module(module).get_config()
    for flag in flags.keys() - {"--config", "--workdir"}:
        value = config
        for key in flag.removeprefix("--config.").split("."):
            value = value[key]  # a KeyError names the key
    assert config.train.batch_size >= 1


def test_jobset_restarts_all_but_what_a_restart_repeats():
    recipe = read_recipe("jobset.yaml")
    assert (recipe["apiVersion"], recipe["kind"]) == (
        "jobset.x-k8s.io/v1alpha2",
        "JobSet",
    )
    policy = recipe["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    assert policy["restartStrategy"] == "BlockingRecreate"
    (rule,) = policy["rules"]
    assert rule["action"] == "FailJobSet"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = recipe["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    (rule,) = job["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert codes["operator"] == "In"
    assert not {EXIT_INTERRUPTED, 137, 143} & set(codes["values"])
    assert codes["containerName"] == job["template"]["spec"]["containers"][0]["name"]


def test_tfjob_is_one_that_the_operator_takes():
    recipe = read_recipe("tfjob.yaml")
    assert (recipe["apiVersion"], recipe["kind"]) == ("kubeflow.org/v1", "TFJob")
    worker = recipe["spec"]["tfReplicaSpecs"]["Worker"]
    # ExitCode takes 75 for final.
    assert worker["restartPolicy"] == "OnFailure"
    assert recipe["spec"]["runPolicy"]["backoffLimit"] > worker["replicas"]
    (container,) = worker["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"
    assert container["ports"][0]["name"] == "tfjob-port"
    assert "--config.distribution=multiworker" in container["args"]
