"""The serving bundle: every file is read back by what will read it."""

import json
import os
import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from google.protobuf import text_format

from tf_multimodal.serving.bundle import bundle, deployment, readme, server_config
from tf_multimodal.serving.bundle.public_protos import make_message
from tf_multimodal.serving.bundle.served_model import read_served_model

SIZES = [1, 2, 4, 8]


@pytest.fixture
def model_dir(tmp_path):
    """A folder with the versions 2 and 10, and what lies beside their graphs."""
    folder = tmp_path / "runs" / "two dogs" / "export"
    for version in (2, 10):
        write_version(folder / str(version))
    (folder / ".writing-x").mkdir()
    return folder


def write_version(folder, oldest_server="2.20.0"):
    extra = folder / "assets.extra"
    extra.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    card = {
        "format": 1,
        "name": "dogs",
        "classes": ["dog", "no dog"],
        "signatures": {"features": {}, "serving_default": {}},
        "max_image_px": 50_000_000,
        "allowed_batch_sizes": SIZES,
    }
    (extra / "model_card.json").write_text(json.dumps(card))
    (extra / "server_ops.json").write_text(json.dumps({"oldest_server": oldest_server}))


@pytest.fixture
def written(model_dir, tmp_path):
    output = tmp_path / "bundles" / "one"
    bundle.write_bundle(model_dir, output)
    return output


def parse_models(text):
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def read_yaml(path):
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_files(written):
    assert sorted(p.name for p in written.iterdir()) == [
        "README.md",
        "batching_parameters.txt",
        "docker-compose.yaml",
        "kubernetes.yaml",
        "models.config",
        "monitoring.config",
        "prediction_service.protoset",
    ]
    assert [p.name for p in written.parent.iterdir()] == ["one"]  # nothing left over


def test_models_config_serves_the_newest_version(written):
    model = parse_models((written / "models.config").read_text())
    assert model.name == "two_dogs"
    assert model.base_path == "/models/two_dogs"
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1
    assert not model.version_labels


def test_models_config_pins_a_version_that_is_given(model_dir, tmp_path):
    bundle.write_bundle(model_dir / "2", tmp_path / "out", "pets")
    model = parse_models((tmp_path / "out" / "models.config").read_text())
    assert model.name == "pets"
    assert list(model.model_version_policy.specific.versions) == [2]
    compose = (tmp_path / "out" / "docker-compose.yaml").read_text()
    assert "source: ../runs/two dogs/export\n" in compose


def test_comment_of_models_config_labels_versions(written):
    assert read_labels(written) == ([2, 10], {"stable": 10})
    # Labels in a URL are words: g3doc/serving_config.md, "REST Usage".
    assert re.fullmatch(r"[a-zA-Z0-9_]+", server_config.STABLE_LABEL)


def read_labels(written):
    """Returns versions and labels of the block in the comment."""
    text = (written / "models.config").read_text()
    block = text[text.index("# model_config_list") :]
    model = parse_models(re.sub("^# ", "", block, flags=re.MULTILINE))
    versions = model.model_version_policy.specific.versions
    return list(versions), dict(model.version_labels)


def test_labels_are_for_versions_with_a_model_card(model_dir, tmp_path):
    (model_dir / "7").mkdir()
    (model_dir / "7" / "saved_model.pb").write_bytes(b"")
    write_version(model_dir / "1")
    bundle.write_bundle(model_dir, tmp_path / "newest")
    assert read_labels(tmp_path / "newest") == ([2, 10], {"stable": 10})
    bundle.write_bundle(model_dir / "1", tmp_path / "pinned")
    assert read_labels(tmp_path / "pinned") == ([1, 10], {"stable": 1})


def parse_batching(written):
    text = (written / "batching_parameters.txt").read_text()
    return text_format.Parse(text, make_message("BatchingParameters"))


def test_batching_parameters(written):
    message = parse_batching(written)
    assert list(message.allowed_batch_sizes) == SIZES
    assert message.max_batch_size.value == SIZES[-1]  # or the server does not start
    assert message.num_batch_threads.value == server_config.CPUS
    assert message.batch_timeout_micros.value == 2000
    assert message.max_enqueued_batches.value == 64
    assert not message.pad_variable_length_inputs
    assert not message.HasField("enable_large_batch_splitting")


def test_monitoring_config(written):
    text = (written / "monitoring.config").read_text()
    message = text_format.Parse(text, make_message("MonitoringConfig"))
    assert message.prometheus_config.enable
    assert message.prometheus_config.path == "/monitoring/prometheus/metrics"


@pytest.mark.parametrize(
    "oldest, image", [("2.9.0", "2.20.0"), ("2.20.0", "2.20.0"), ("2.21.1", "2.21.1")]
)
def test_image_is_not_older_than_the_model_needs(tmp_path, oldest, image):
    write_version(tmp_path / "m" / "1", oldest)
    model = read_served_model(tmp_path / "m")
    assert deployment.get_image(model) == f"tensorflow/serving:{image}"


def test_size_is_that_of_the_version(model_dir):
    before = read_served_model(model_dir).size_bytes
    for version in ("2", "10"):
        with open(model_dir / version / "weights", "wb") as file:
            file.truncate(2**30)  # a sparse file
    assert read_served_model(model_dir).size_bytes == before + 2**30


def get_code(written, word):
    blocks = re.findall("```\n(.*?)```", (written / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return block


def test_protoset_holds_what_grpcurl_asks_for(written):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.json_format import ParseDict

    files = descriptor_pb2.FileDescriptorSet.FromString(
        (written / "prediction_service.protoset").read_bytes()
    )
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:  # in order: what a file imports comes before it
        pool.Add(file)
    call = shlex.split(get_code(written, "grpcurl"), comments=True)
    service, method = call[-1].split("/")
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    request = message_factory.GetMessageClass(descriptor.input_type)()
    body = call[1] % ("aW1hZ2U=", "dGV4dA==")  # "image", "text"
    ParseDict(json.loads(body), request)
    assert request.model_spec.name == "two_dogs"
    assert request.inputs["image_bytes"].string_val == [b"image"]
    assert request.inputs["text"].string_val == [b"text"]
    assert request.inputs["text"].tensor_shape.dim[0].size == 1
    assert call[call.index("-protoset") + 1] == "prediction_service.protoset"


def test_readme_says_how_to_ask_and_to_go_back(written):
    text = (written / "README.md").read_text()
    assert "Version 10 (the newest version" in text
    assert "signatures `serving_default`, `features`." in text
    assert "up to 8 rows" in text
    assert "/v1/models/two_dogs/labels/stable:predict" in text


def test_readme_says_what_takes_a_restart(written):
    text = (written / "README.md").read_text()
    assert get_code(written, "docker compose restart")
    assert "kubectl rollout restart deployment/two-dogs" in text
    restart = text[: text.index("docker compose restart")].splitlines()[-4:]
    assert "`batching_parameters.txt`" in " ".join(restart)
    assert "`monitoring.config`" in " ".join(restart)


def test_refuses_a_folder_that_holds_something(model_dir, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    bundle.write_bundle(model_dir, output)  # empty: taken
    before = (output / "README.md").stat().st_mtime_ns
    with pytest.raises(ValueError, match="not an empty folder; a bundle overwrites"):
        bundle.write_bundle(model_dir, output)
    assert (output / "README.md").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="lies inside the model's folder"):
        bundle.write_bundle(model_dir, model_dir / "bundle")


def test_refuses_what_is_not_a_servable_model(model_dir, tmp_path):
    def refuse(folder, message, **options):
        with pytest.raises(ValueError, match=message):
            bundle.write_bundle(folder, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()

    refuse(tmp_path / "nothing", "There is no SavedModel in .*nothing. Expected")
    for name in ("a/b", "--name=x", ".", "..", "", "dögs"):
        refuse(model_dir, "cannot be a model's name", name=name)
    (model_dir / "11").mkdir()
    refuse(model_dir, "newest version in .*, 11/, holds no saved_model.pb")
    loose = (model_dir / "2").rename(tmp_path / "loose")
    refuse(loose, "not in a version folder")
    os.remove(model_dir / "10" / "assets.extra" / "model_card.json")
    refuse(model_dir / "10", "model_card.json cannot be read.*export the run again")


def test_example_requests_have_the_inputs_of_the_signature(written):
    call = shlex.split(get_code(written, "--data @-"))
    body = json.loads(call[1] % ("aW1hZ2U=", "a dog"))
    (row,) = body["instances"]
    assert row == {"image_bytes": {"b64": "aW1hZ2U="}, "text": "a dog"}
    assert call[-1] == "http://localhost:8501/v1/models/two_dogs:predict"
    assert set(readme.make_grpc_request("x")["inputs"]) == set(row)


@pytest.mark.slow
def test_command(model_dir, tmp_path, run_command):
    output = tmp_path / "out"
    arguments = ["-m", "export.bundle", f"--model={model_dir}", f"--output={output}"]
    printed = run_command(*arguments).stdout
    assert "version 10" in printed and "as two_dogs" in printed
    failed = run_command(*arguments, expect=1)
    assert failed.stderr.splitlines()[-1].startswith("python -m export.bundle: ")
    assert "Traceback" not in failed.stderr


def run_health_script(name, port):
    script = deployment.make_health_script(name, port)
    return subprocess.run(["/bin/bash", "-c", script], check=False, timeout=60)


@pytest.mark.slow
def test_lines_of_the_readme_against_a_server(servable, predictor, small_run, tmp_path):
    from tf_multimodal.serving.model_card import write_model_card
    from tf_multimodal.serving.server.development_server import DevelopmentServer
    from tf_multimodal.serving.warmup import read_warmup

    model_dir = shutil.copytree(servable, tmp_path / "pets")
    write_model_card(model_dir / "1", predictor, precision="float32")
    bundle.write_bundle(model_dir, tmp_path / "out")
    sizes = parse_batching(tmp_path / "out").allowed_batch_sizes
    warmed = {
        tensor.tensor_shape.dim[0].size
        for request in read_warmup(model_dir / "1")
        for tensor in request.inputs.values()
    }
    assert set(sizes) == warmed

    def run(word):
        line = get_code(tmp_path / "out", word).replace(":8501", f":{rest_port}")
        line = line.replace("IMAGE.jpg", str(small_run.parent / "0.png"))
        done = subprocess.run(
            ["/bin/bash", "-c", line], capture_output=True, check=True, timeout=60
        )
        return json.loads(done.stdout)

    with DevelopmentServer(model_dir, "pets") as server:
        rest_port = server.rest_port
        status = run("curl --fail http://localhost:8501/v1/models/pets\n")
        assert status["model_version_status"][0]["state"] == "AVAILABLE"
        assert run("/metadata")["model_spec"]["name"] == "pets"
        (answer,) = run("--data @-")["predictions"]
        assert answer["status"] == "ok"
        assert run_health_script("pets", rest_port).returncode == 0
        assert run_health_script("dogs", rest_port).returncode != 0
    assert run_health_script("pets", rest_port).returncode != 0
