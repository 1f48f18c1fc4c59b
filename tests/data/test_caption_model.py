"""The command with small image-to-text models that hold random weights."""

import csv
import os
import signal
import subprocess
import sys
import time

import caption_samples
import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data.caption.captioner import Captioner

COMMAND = ("-m", "tf_multimodal.data.caption")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "tiny_pali_gemma"
    return caption_samples.write_preset(folder)


def read_texts(path):
    with open(path, encoding="utf-8", newline="") as file:
        return {row["id"]: row["text"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("kind", "prompt"), [("pali_gemma", None), ("gemma3", "<start_of_image>")]
)
def test_captions_are_what_the_model_generates(kind, prompt, tmp_path):
    """One image at a time, resized and scaled by the preset's own converter."""
    import keras_hub

    preset = caption_samples.write_preset(tmp_path / kind, kind)
    captioner = Captioner(str(preset), prompt, max_tokens=6, batch_size=2)
    pixels = [caption_samples.make_pixels(number) for number in (1, 2, 3)]
    captions = captioner.caption([tf.constant(p) for p in pixels[:2]])
    captions += captioner.caption([tf.constant(pixels[2])])

    model = keras_hub.models.CausalLM.from_preset(str(preset))
    model.compile(sampler="greedy")
    prompt = captioner.settings["prompt"]
    expected = [
        model.generate(
            {"images": tf.constant(p[None], tf.float32), "prompts": [prompt]},
            max_length=count_prompt_tokens(model, prompt) + 6,
            strip_prompt=True,
        )[0]
        for p in pixels
    ]
    assert captions == expected
    assert len(set(captions)) > 1  # the image makes a difference
    assert all(captions)


def count_prompt_tokens(model, prompt):
    image = "\n\n<start_of_image>" + "<img>" * 4 + "<end_of_image>\n\n"
    prompt = prompt.replace("<start_of_image>", image)
    return 1 + len(model.preprocessor.tokenizer(prompt))


def test_name_tells_the_weights(preset, tmp_path):
    import keras_hub

    name = Captioner(str(preset)).name
    assert name == Captioner(str(preset)).name
    model = keras_hub.models.CausalLM.from_preset(str(preset))
    weight = model.backbone.trainable_variables[0]
    weight.assign(np.array(weight) + 1e-3)
    model.save_to_preset(str(tmp_path / preset.name))
    other = Captioner(str(tmp_path / preset.name)).name
    assert other.split()[0] == name.split()[0] == preset.name
    assert other != name


def test_a_model_that_cannot_caption_is_an_error(preset, tmp_path):
    import keras_hub

    with pytest.raises(ValueError, match="image-to-text model"):
        Captioner(str(tmp_path / "nothing"))
    model = keras_hub.models.CausalLM.from_preset(str(preset))
    model.preprocessor.image_converter = None
    model.save_to_preset(str(tmp_path / "blind"))
    with pytest.raises(ValueError, match="reads no images"):
        Captioner(str(tmp_path / "blind"))


def test_a_chat_model_is_asked_with_the_image_in_the_prompt(tmp_path):
    preset = caption_samples.write_preset(tmp_path / "gemma3", "gemma3")
    assert "<start_of_image>" in Captioner(str(preset)).settings["prompt"]
    with pytest.raises(ValueError, match="once where the image stands"):
        Captioner(str(preset), prompt="caption en")


@pytest.mark.slow
def test_the_command_goes_on_after_kill(run_command, preset, tmp_path):
    runs = {}
    for name in ("straight", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        manifest = caption_samples.write_manifest(folder)
        before = manifest.read_bytes()
        flags = (
            f"--manifest={manifest}",
            f"--preset={preset}",
            "--batch_size=1",
            "--max_tokens=6",
        )
        if name == "killed":
            kill_after_first_caption(folder, flags)
        result = run_command(*COMMAND, *flags)
        assert "(2 original, 3 generated, 4 left empty)" in result.stdout
        assert manifest.read_bytes() == before
        runs[name] = (folder / "pairs.captioned.csv").read_bytes()
    assert runs["straight"] == runs["killed"]


def kill_after_first_caption(folder, flags):
    """Ends the command with SIGKILL as soon as one caption is in the journal."""
    journal = folder / ".pairs.captioned.csv.journal"
    process = subprocess.Popen(
        [sys.executable, *COMMAND, *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert journal.read_bytes().count(b"\n") < 4  # not all of the three were done


@pytest.mark.slow
def test_the_command_says_what_is_wrong_in_a_line(run_command, preset, tmp_path):
    manifest = caption_samples.write_manifest(tmp_path)
    result = run_command(
        *COMMAND,
        f"--manifest={manifest}",
        f"--preset={preset}",
        "--image_column=picture",
        expect=1,
    )
    assert "no column 'picture'" in result.stderr
    assert "Traceback" not in result.stderr
