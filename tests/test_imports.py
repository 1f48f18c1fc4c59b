"""Who may import whom, and who may import TensorFlow."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
EVERYTHING = ("config", "data", "models", "inference", "evaluation", "training")
# room (or module) -> rooms and modules it may import, beside its own.
RULES: dict[str, tuple[str, ...]] = {
    "tf_multimodal.config": (),
    "tf_multimodal.command_line": (),
    "tf_multimodal.data.spec": (),
    "tf_multimodal.data.labels": (),
    "tf_multimodal.evaluation.metrics": (),
    "tf_multimodal.kernels": (),
    "tf_multimodal.data": ("config",),
    # It counts tokens with the tokenizer that the run would build.
    "tf_multimodal.data.audit": ("config", "data", "training.model_builder"),
    "tf_multimodal.datasets": ("config", "data"),
    "tf_multimodal.models": (
        "data.spec",
        "data.labels",
        "data.tokenizer",
        "kernels",
    ),
    "tf_multimodal.inference": ("config", "data", "models"),
    "tf_multimodal.evaluation": ("config", "data", "models", "inference"),
    "tf_multimodal.training": ("config", "data", "models", "evaluation"),
    "tf_multimodal.serving": ("config", "data", "models", "inference"),
    "tf_multimodal.experiments": (*EVERYTHING, "serving"),
    "configs": ("config",),
    "export": ("serving", "config"),
    "benchmarks": (*EVERYTHING, "serving"),
    "train": ("config", "training"),
}
NOTHING_OF_OURS = [room for room, rooms in RULES.items() if not rooms]
ISOLATED = (  # no room of its own to import from either
    "tf_multimodal.data.spec",
    "tf_multimodal.data.labels",
    "tf_multimodal.evaluation.metrics",
)
OURS = ("tf_multimodal", "configs", "export", "benchmarks", "train")
FILES = sorted(
    p
    for folder in ("tf_multimodal", "configs", "export", "benchmarks")
    for p in (ROOT / folder).rglob("*.py")
) + [ROOT / "train.py"]


def name_module(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def list_imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


@pytest.mark.parametrize("path", FILES, ids=name_module)
def test_imports_follow_the_rules(path):
    module = name_module(path)
    if module == "tf_multimodal":
        return
    room = max((r for r in RULES if is_within(module, r)), key=len)
    allowed = [f"tf_multimodal.{name}" for name in RULES[room]]
    if room not in NOTHING_OF_OURS:
        allowed.append("tf_multimodal.command_line")
    if room not in ISOLATED:
        allowed.append(room)
    if room == "benchmarks":
        allowed.append("configs")
    ours = [
        name
        for name in list_imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0]
        in ("tf_multimodal", "configs", "export", "benchmarks", "train")
    ]
    # `from tf_multimodal import config` names the package and the module.
    wrong = [name for name in ours if not any(is_within(name, a) for a in allowed)]
    assert not wrong, f"{module} ({room}) must not import {wrong}"


@pytest.mark.parametrize(
    "path",
    [p for p in FILES if name_module(p).startswith("tf_multimodal.models")],
    ids=name_module,
)
def test_models_do_not_import_tensorflow(path):
    names = list_imports(ast.parse(path.read_text(encoding="utf-8")))
    assert not [n for n in names if n.split(".")[0].startswith("tensorflow")]


@pytest.mark.parametrize("path", FILES, ids=name_module)
def test_flags_only_where_there_is_a_main(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    if "absl.flags" in list_imports(tree):
        assert "main" in functions


def test_files_stay_small():
    long = {
        name_module(p): count
        for p in FILES
        if (count := len(p.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_readers_of_settings_do_not_import_tensorflow():
    for name in ("config.py", "data/spec.py", "data/labels.py", "data/source.py"):
        tree = ast.parse((ROOT / "tf_multimodal" / name).read_text(encoding="utf-8"))
        assert not [
            n for n in list_imports(tree) if n.startswith(("tensorflow", "keras"))
        ]
