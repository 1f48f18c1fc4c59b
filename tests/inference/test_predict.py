"""The command: rows kept, bad ones named, output complete or absent."""

import base64
import csv
import json
import shutil
import subprocess
import sys

import pytest

from tf_multimodal.inference import predict, prediction_file

STATUSES = [
    "ok",
    "unreadable_image",
    "undecodable_image",
    "ok",
    "missing_input",
    "ok",
    "unreadable_image",
]


@pytest.fixture
def manifest(small_run, tmp_path):
    """Pairs to classify, in columns of other names, without labels."""
    for name in ("0.png", "broken.png"):
        shutil.copy(small_run.parent / name, tmp_path)
    rows = [
        ("key", "photo", "caption"),
        ("k0", "0.png", "a red bird"),
        ("k1", "missing.png", "two, cats"),
        ("k2", "broken.png", 'a "sign"'),
        ("k3", "", "고양이"),
        ("k4", "", " "),
        ("k5", "0.png", ""),
        ("k6", "missing.png", ""),
    ]
    path = tmp_path / "new.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


COLUMNS = predict.Columns(image="photo", text="caption", id="key")


def test_jsonl(small_run, manifest, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    counts = predict.predict_manifest(
        small_run, manifest, output, columns=COLUMNS, batch_size=3
    )
    assert counts == {
        "ok": 3,
        "missing_input": 1,
        "unreadable_image": 2,
        "undecodable_image": 1,
    }
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"k{i}" for i in range(7)]
    assert [row["status"] for row in rows] == STATUSES
    assert rows[3]["text"] == "고양이"
    assert rows[1]["file"] == "missing.png"
    for position in (0, 1, 2, 3, 5):
        scores = rows[position]["probabilities"]
        assert list(scores) == ["bird", "cat", "signs_and_symbols"]
        assert sum(scores.values()) == pytest.approx(1, abs=1e-6)
        assert rows[position]["prediction"] == max(scores, key=scores.get)
        assert rows[position]["probability"] == max(scores.values())
    for position in (4, 6):  # nothing to go by
        assert rows[position]["prediction"] is None
        assert rows[position]["probability"] is None
        assert rows[position]["probabilities"] is None
    errors = capsys.readouterr().err.splitlines()
    named = [line for line in errors if line.startswith("Bad row: ")]
    assert len(named) == 4
    assert "new.csv" in named[0] and "k1" in named[0] and "missing.png" in named[0]
    assert "does not exist" in named[0]


def test_csv_says_the_same(small_run, manifest, tmp_path):
    for name in ("out.jsonl", "out.csv"):
        predict.predict_manifest(small_run, manifest, tmp_path / name, columns=COLUMNS)
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    with open(tmp_path / "out.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(lines) == 7
    for cells, row in zip(table, map(json.loads, lines), strict=True):
        for key in ("id", "file", "text", "status"):
            assert cells[key] == row[key]
        assert cells["row"] == str(row["row"])
        assert cells["prediction"] == (row["prediction"] or "")
        for name in ("bird", "cat", "signs_and_symbols"):
            score = (row["probabilities"] or {}).get(name)
            assert cells[f"p_{name}"] == ("" if score is None else str(score))


def test_strict_stops_at_the_first_bad_row(small_run, manifest, tmp_path):
    output = tmp_path / "out.csv"
    with pytest.raises(predict.BadRow, match="k1.*does not exist"):
        predict.predict_manifest(
            small_run, manifest, output, columns=COLUMNS, strict=True
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0.png",
        "broken.png",
        "new.csv",
    ]


def test_only_so_many_bad_rows_are_named(
    small_run, manifest, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(predict, "_NAMED_ROWS", 2)
    predict.predict_manifest(
        small_run, manifest, tmp_path / "out.csv", columns=COLUMNS, batch_size=2
    )
    errors = capsys.readouterr().err
    assert errors.count("Bad row: ") == 2 and errors.count("More bad rows") == 1


def test_only_columns_that_the_model_reads_are_needed(small_run, image_run, tmp_path):
    shutil.copy(small_run.parent / "0.png", tmp_path)
    path, output = tmp_path / "images.csv", tmp_path / "out.csv"
    path.write_text("image\n0.png\n")
    assert predict.predict_manifest(image_run, path, output) == {"ok": 1}
    with pytest.raises(ValueError, match="'text' for the text.*Set --text_column to"):
        predict.predict_manifest(small_run, path, output)
    named = predict.Columns(text="caption")  # what somebody asked for must be there
    with pytest.raises(ValueError, match="no column 'caption'"):
        predict.predict_manifest(image_run, path, output, columns=named)
    path.write_text("text\na cat\n")
    with pytest.raises(ValueError, match="Set --image_column to"):
        predict.predict_manifest(image_run, path, output)


def test_texts_and_images_are_made_as_the_run_made_them(small_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    values = json.loads((run / "experiment.json").read_text())
    values["data"] |= {"image_encoding": "base64", "text_template": "{a} {b}"}
    (run / "experiment.json").write_text(json.dumps(values))
    image = (small_run.parent / "0.png").read_bytes()
    rows = [
        {"image": base64.b64encode(image).decode(), "a": "a red", "b": "bird"},
        {"image": "0.png", "a": "", "b": ""},
    ]
    path, output = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n")
    assert predict.predict_manifest(run, path, output) == {"ok": 1}
    found = json.loads(output.read_text())
    expected = predict.predict_pair(
        small_run, str(small_run.parent / "0.png"), "a red bird"
    )
    assert found["text"] == "a red bird"
    assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6)
    path.write_text(json.dumps(rows[0]) + "\n" + json.dumps(rows[1]) + "\n")
    with pytest.raises(ValueError, match="row 2, column 'image'.*base64"):
        predict.predict_manifest(run, path, output)
    shutil.copy(small_run.parent / "0.png", tmp_path)
    path.write_text(json.dumps(rows[1] | {"b": "dog"}) + "\n")
    columns = predict.Columns(text="b", image_encoding="path")
    assert predict.predict_manifest(run, path, output, columns=columns) == {"ok": 1}
    assert json.loads(output.read_text())["text"] == "dog"


def test_a_manifest_that_is_not_there(image_run, tmp_path):
    with pytest.raises(FileNotFoundError, match="none.csv, which --manifest names"):
        predict.predict_manifest(image_run, tmp_path / "none.csv", tmp_path / "out.csv")


def test_output_name(small_run, manifest):
    with pytest.raises(ValueError, match="must end in .jsonl or .csv.*out.txt"):
        predict.predict_manifest(small_run, manifest, "out.txt")
    with pytest.raises(ValueError, match="overwrite the manifest"):
        predict.predict_manifest(small_run, manifest, manifest)
    assert manifest.read_text("utf-8").startswith("key,photo")


def test_one_pair(small_run, capsys):
    image = str(small_run.parent / "0.png")
    row = predict.predict_pair(small_run, image, "a red bird")
    assert row["status"] == "ok" and row["file"] == image
    assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)
    text_only = predict.predict_pair(small_run, None, "a red bird")
    assert text_only["probabilities"] != row["probabilities"]
    assert capsys.readouterr().err == ""
    broken = str(small_run.parent / "broken.png")
    row = predict.predict_pair(small_run, broken, "a red bird")
    assert row["status"] == "undecodable_image"
    assert row["probabilities"] == pytest.approx(text_only["probabilities"], abs=1e-6)
    assert "broken.png" in capsys.readouterr().err
    with pytest.raises(predict.BadRow, match="broken.png"):
        predict.predict_pair(small_run, broken, "a red bird", strict=True)


def test_one_pair_whose_image_is_missing(small_run, tmp_path, capsys):
    """The rule is that of a manifest: a status, and the scores of the text."""
    missing = str(tmp_path / "missing.png")
    row = predict.predict_pair(small_run, missing, "a red bird")
    assert row["status"] == "unreadable_image" and row["file"] == missing
    assert "missing.png: The file does not exist." in capsys.readouterr().err
    text_only = predict.predict_pair(small_run, None, "a red bird")
    assert row["probabilities"] == pytest.approx(text_only["probabilities"], abs=1e-6)
    assert predict.predict_pair(small_run, missing, None)["prediction"] is None
    with pytest.raises(predict.BadRow, match="missing.png"):
        predict.predict_pair(small_run, missing, "a red bird", strict=True)


def test_failed_writing_leaves_no_file(tmp_path):
    path = tmp_path / "out.jsonl"
    with pytest.raises(KeyError), prediction_file.write_rows(path, ()) as writer:
        writer.write({"id": "a"})
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def _run(*arguments):
    command = [sys.executable, "-m", "tf_multimodal.inference.predict", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_command(small_run, manifest, tmp_path):
    columns = ["--image_column=photo", "--text_column=caption", "--id_column=key"]
    run, output = f"--run={small_run}", tmp_path / "out.csv"
    arguments = [run, f"--manifest={manifest}", f"--output={output}", *columns]
    strict = _run(*arguments, "--strict")
    assert strict.returncode == 1 and "k1" in strict.stderr
    assert "Traceback" not in strict.stderr and not output.exists()
    result = _run(*arguments)
    assert result.returncode == 0, result.stderr
    assert "7 rows (3 ok, 1 missing_input" in result.stdout
    assert output.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--run=x"],
        ["--run=x", "--manifest=a.csv"],
        ["--run=x", "--manifest=a.csv", "--output=b.csv", "--text=c"],
    ],
)
def test_command_wants_a_file_or_a_pair(arguments):
    result = _run(*arguments)
    assert result.returncode == 1
    assert "Give --manifest and --output" in result.stdout + result.stderr


@pytest.mark.slow
def test_help_is_fast():
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "tf_multimodal.inference.predict",
        "--help",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "--strict" in result.stdout
    assert "tensorflow" not in result.stderr and "sklearn" not in result.stderr
