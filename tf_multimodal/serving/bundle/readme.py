"""The README of a bundle: the commands that an operator types."""

import json
import shlex
from typing import Any

from tf_multimodal.serving.bundle.deployment import (
    CONTAINER_SECURITY,
    KUBERNETES_FILE,
    POD_SECURITY,
    get_image,
    make_dns_name,
)
from tf_multimodal.serving.bundle.protoset import PROTOSET_FILE
from tf_multimodal.serving.bundle.served_model import ServedModel
from tf_multimodal.serving.bundle.server_config import (
    BATCHING_FILE,
    GRPC_PORT,
    METRICS_PATH,
    MODELS_DIR,
    MODELS_FILE,
    MONITORING_FILE,
    POLL_SECONDS,
    REST_PORT,
    STABLE_LABEL,
)
from tf_multimodal.serving.request_example import make_curl


def make_readme(model: ServedModel) -> str:
    """Returns README.md."""
    sections = (
        _make_start(model),
        _make_requests(model),
        _make_versions(model),
        _make_kubernetes(model),
    )
    return "\n".join(sections)


def _make_start(model: ServedModel) -> str:
    kept = (
        "pinned: a newer one is not loaded"
        if model.is_pinned
        else "the newest version; a newer one is loaded as soon as it appears"
    )
    return f"""\
# Serving {model.name}

Version {model.version} ({kept}), {len(model.classes)} classes, signatures \
{", ".join(f"`{name}`" for name in model.signatures)}.
Needs TensorFlow Serving {model.server_version} or newer.

## Start

```
docker compose up --detach --wait
```

Run it in this folder, and keep the folder where it is: the compose file names the
model by a relative path. The server (`{get_image(model)}`) runs as the user nobody, so
the model's files must be readable by everyone. `--wait` returns when the model answers.
The health check is a line of bash: the image has no curl, wget or Python.

Both ports are published to this machine alone. The server knows no passwords and no
TLS on REST: put a proxy in front of it before you publish them wider.

| port | |
|---|---|
| {GRPC_PORT} | gRPC |
| {REST_PORT} | REST; Prometheus metrics under `{METRICS_PATH}` |

`{MODELS_FILE}` is read again every {POLL_SECONDS} seconds. `{BATCHING_FILE}` and
`{MONITORING_FILE}` are read at the start only: after editing one of these

```
docker compose restart
```
"""


def _make_requests(model: ServedModel) -> str:
    base = f"http://localhost:{REST_PORT}/v1/models/{model.name}"
    return f"""\
## Ask

Is it ready? The answer says `AVAILABLE`:

```
curl --fail {base}
```

What goes in and comes out, signature by signature:

```
curl --fail {base}/metadata
```

REST. Bytes are written `{{"b64": "..."}}`; an empty string stands for what is missing.
A request holds up to {model.allowed_batch_sizes[-1]} rows:

```
{make_curl(model.name, REST_PORT)}
```

gRPC, with [grpcurl](https://github.com/fullstorydev/grpcurl). The server has no
reflection; `{PROTOSET_FILE}` holds its interface (made from tensorflow-serving-api; it
stands for `-import-path` with clones of tensorflow/serving and tensorflow/tensorflow).
In this JSON every string is base64, text too:

```
printf {shlex.quote(json.dumps(make_grpc_request(model.name)))} \\
  "$(base64 -w0 IMAGE.jpg)" "$(printf 'THE TEXT BESIDE IT' | base64 -w0)" |
  grpcurl -plaintext -protoset {PROTOSET_FILE} -d @ \\
    localhost:{GRPC_PORT} tensorflow.serving.PredictionService/Predict
```

Many rows, with deadlines and retries, from the project that made this bundle:

```
python -m export.client --server=grpc://localhost:{GRPC_PORT} --name={model.name} \\
  --manifest=pairs.csv --output=predictions.jsonl
```

A row's `status` says if its image or text could not be used; its scores are then those
of what is left, and the other rows of the request are not touched.
"""


def make_grpc_request(name: str) -> dict[str, Any]:
    """Returns a PredictRequest as JSON; `%s` stands for image and text in base64."""

    def make_tensor() -> dict[str, Any]:
        shape = {"dim": [{"size": 1}]}
        return {"dtype": "DT_STRING", "tensor_shape": shape, "string_val": ["%s"]}

    return {
        "model_spec": {"name": name, "signature_name": "serving_default"},
        "inputs": {"image_bytes": make_tensor(), "text": make_tensor()},
    }


def _make_versions(model: ServedModel) -> str:
    base = f"http://localhost:{REST_PORT}/v1/models/{model.name}"
    return f"""\
## Versions, and going back

`python -m export` writes a new version beside the others and moves it into place in one
step. The server warms it up, and only then lets go of the old one.

To decide by hand which version answers, use the label `{STABLE_LABEL}`:

1. In `{MODELS_FILE}`, replace the block by the one in the comment: it names the
   versions that stay loaded and gives one of them the label. The server reads the file
   again every {POLL_SECONDS} seconds and goes on answering meanwhile.
2. Let callers ask for the label: `{base}/labels/{STABLE_LABEL}:predict`;
   in gRPC `"version_label": "{STABLE_LABEL}"` in `model_spec`;
   `python -m export.client --version_label={STABLE_LABEL}`.
3. To go back, give the label the other version's number. A label that is in use only
   moves to a version that is loaded: keep both in `versions` until it has moved.

Without labels: `specific {{ versions: {model.version} }}` in place of `latest` pins
that version. If the file does not parse, the server keeps what it has and logs it.
"""


def _make_kubernetes(model: ServedModel) -> str:
    name = make_dns_name(model.name)
    target = f"{MODELS_DIR}/{model.name}"
    fill = {
        "spec": {
            "securityContext": POD_SECURITY,
            "containers": [
                {
                    "name": "fill",
                    "image": "ubuntu:22.04",
                    "command": ["sleep", "infinity"],
                    "securityContext": CONTAINER_SECURITY,
                    "volumeMounts": [{"name": "models", "mountPath": target}],
                }
            ],
            "volumes": [
                {
                    "name": "models",
                    "persistentVolumeClaim": {"claimName": f"{name}-models"},
                }
            ],
        }
    }
    folder = shlex.quote(str(model.version))
    return f"""\
## Kubernetes

```
kubectl apply -f {KUBERNETES_FILE}
```

makes a volume claim, a config map with the three configuration files, a deployment and
a service inside the cluster. All of it is written for the Pod Security Standard
`restricted`.

The claim is ReadWriteOnce: one node at a time. So the deployment's strategy is Recreate
(a rolling update would start the new pod while the old one holds the volume, and hang
if that is on another node), and the volume is filled while no server runs. From the
folder that holds the versions, for the first version and for each one after it:

```
kubectl scale deployment/{name} --replicas=0
kubectl wait --for=delete pod -l app.kubernetes.io/name={name} --timeout=5m
kubectl run fill --image=ubuntu:22.04 --overrides={shlex.quote(json.dumps(fill))}
kubectl wait --for=condition=Ready pod/fill --timeout=5m
kubectl cp {folder} fill:{target}/.writing-{model.version}
kubectl exec fill -- mv {target}/.writing-{model.version} {target}/{model.version}
kubectl delete pod fill
kubectl scale deployment/{name} --replicas=1
```

Nobody answers meanwhile. For updates without a gap, and for replicas on several nodes,
use a storage class with ReadWriteMany and strategy RollingUpdate, and leave out both
`scale` lines and the wait after the first: a version is copied beside its place and
moved, so that a running server never sees half of it.

To change the configuration, edit the config map and apply it again. The server takes
`{MODELS_FILE}` over by itself, a minute or two later; for `{BATCHING_FILE}` and
`{MONITORING_FILE}`, which it reads at the start,

```
kubectl rollout restart deployment/{name}
```

The startup probe gives the first version five minutes to load; the readiness probe asks
`/v1/models/{model.name}`. CPU and memory are starting points, memory by the size of the
model: measure with your images.
"""
