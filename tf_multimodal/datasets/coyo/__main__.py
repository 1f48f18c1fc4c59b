"""Chooses a part of COYO-700M, fetches its images and counts the links that are dead.

    python -m tf_multimodal.datasets.coyo STEP --recipe=configs/coyo.yaml \
        --metadata='coyo-700m/data/*.parquet' --output=data/coyo

STEP is `select` (the tables to `selection.parquet`), `fetch` (img2dataset, whose
command is written to `fetch.sh`, to WebDataset shards in `images/`), `report` (to
`link_rot.json` and `link_rot.md`) or `all`. A recipe of classes by `label_ids` takes
--labels as well: COYO-Labeled-300M, whose labels a model made from the pixels. What
follows `--` goes to img2dataset, e.g. `-- --processes_count=16`.
"""

import dataclasses
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import app, flags

from tf_multimodal.command_line import run_command

if TYPE_CHECKING:
    from tf_multimodal.datasets.coyo.recipe import Recipe
    from tf_multimodal.datasets.coyo.selection import Selection

FLAGS = flags.FLAGS
STEPS = ("select", "fetch", "report")


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("recipe", "configs/coyo.yaml", "YAML file of what to choose.")
    flags.DEFINE_string("metadata", None, "Pattern of COYO-700M's Parquet files.")
    flags.DEFINE_string("labels", "", "Pattern of COYO-Labeled-300M's Parquet files.")
    flags.DEFINE_string(
        "label_names", "", "File of its labels' names, one a line, e.g. WordNet ids."
    )
    flags.DEFINE_string("output", None, "Folder of what is written.", required=True)


def main(argv: list[str]) -> int:
    """Runs the command; returns the exit status."""
    step, *options = argv[1:] or [""]
    if step not in (*STEPS, "all") or (options and step not in ("fetch", "all")):
        raise app.UsageError(
            f"Expected one of {', '.join(STEPS)} or all, and options of img2dataset "
            f"after `--` where it runs. Received: {' '.join(argv[1:]) or 'nothing'}"
        )
    output = pathlib.Path(FLAGS.output)
    try:
        if step in ("select", "all"):
            write_selection(output)
        if step in ("fetch", "all"):
            from tf_multimodal.datasets.coyo import fetching

            fetching.fetch_images(*_name_files(output), options)
        if step in ("report", "all"):
            write_report(output)
        if step != "select":
            from tf_multimodal.datasets.coyo import link_rot

            link_rot.check_images(_name_files(output)[1])
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def write_selection(output: pathlib.Path) -> None:
    """Writes `selection.parquet`, and what became of every row to `selection.json`.

    Raises:
        ValueError: a flag, the recipe or a table that cannot be used; no row is left;
            or images of another selection have been fetched.
    """
    import pyarrow.parquet as pq

    from tf_multimodal.data.atomic_file import write_atomically, write_text
    from tf_multimodal.datasets.coyo.recipe import read_recipe
    from tf_multimodal.datasets.coyo.selection import Selector

    if not FLAGS.metadata:
        raise ValueError("--metadata is missing: the Parquet files of COYO-700M.")
    _check_file("recipe", FLAGS.recipe)
    names = _read_label_names(FLAGS.label_names) if FLAGS.label_names else []
    recipe = read_recipe(FLAGS.recipe, names)
    selector = Selector(recipe, FLAGS.metadata, FLAGS.labels, output / ".buckets")
    selection = selector.select()
    path, images = _name_files(output)
    if images.exists() and not (
        path.is_file() and pq.read_table(path).equals(selection.rows)
    ):
        raise ValueError(
            f"{images} holds images of another selection. Choose another --output, or "
            "move that folder away."
        )
    counts = _count_selection(recipe, selection)
    _print_counts(counts)
    if not len(selection.rows):
        raise ValueError(
            f"no row is left for {path}. The reasons, counted, stand above: relax the "
            f"conditions of {FLAGS.recipe}."
        )
    with write_atomically(path) as temporary:
        pq.write_table(selection.rows, temporary)
    write_text(path.with_suffix(".json"), json.dumps(counts, indent=2) + "\n")
    if recipe.needs_labels:
        print("The labels were made by a model from the pixels, not by people.")
    print(f"\nSelection: {path}")


def write_report(output: pathlib.Path) -> None:
    """Writes `link_rot.json` and `link_rot.md`.

    Raises:
        ValueError: nothing was fetched yet.
    """
    from tf_multimodal.data.atomic_file import write_text
    from tf_multimodal.datasets.coyo import link_rot

    counts = link_rot.count_links(*_name_files(output))
    write_text(output / "link_rot.json", json.dumps(counts, indent=2) + "\n")
    page = link_rot.make_markdown(counts)
    write_text(output / "link_rot.md", page)
    print(page.split("\n\n")[1])
    print(f"\nReport: {output / 'link_rot.md'}")


def _read_label_names(path: str) -> list[str]:
    from tf_multimodal.data import files

    _check_file("label_names", path)
    try:
        return files.read_file(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"--label_names: {path} is no text in UTF-8: {error}"
        ) from error


def _check_file(flag: str, path: str) -> None:
    from tf_multimodal.data import files

    if not files.is_file(path):
        raise ValueError(f"--{flag}: there is no file {path}.")


def _name_files(output: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return output / "selection.parquet", output / "images"


def _count_selection(recipe: "Recipe", selection: "Selection") -> dict[str, Any]:
    """Returns the recipe, the rows by class and split, and the reasons of the rest."""
    counts: dict[str, Any] = {
        "rows_read": selection.rows_read,
        "rows_selected": len(selection.rows),
        "left_out": selection.left_out,
        "classes": {},
        "recipe": dataclasses.asdict(recipe),
    }
    rows = selection.rows.group_by(["label", "split"]).aggregate([([], "count_all")])
    by_class = counts["classes"]
    for rule in recipe.classes:
        by_class[rule.name] = {"train": 0, "validation": 0, "test": 0}
    for row in rows.to_pylist():
        by_class[row["label"]][row["split"]] = row["count_all"]
    return counts


def _print_counts(counts: dict[str, Any]) -> None:
    print(f"{counts['rows_selected']:,} of {counts['rows_read']:,} rows selected.")
    for reason, number in counts["left_out"].items():
        print(f"  {number:>13,} left out: {reason}")
    for name, splits in counts["classes"].items():
        rows = " + ".join(f"{n:,}" for n in splits.values())
        short = sum(splits.values()) < counts["recipe"]["per_class"]
        print(f"  {name}: {rows}{' (there are no more)' if short else ''}")


if __name__ == "__main__":
    define_flags()
    run_command(main)
