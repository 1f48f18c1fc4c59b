"""A small library of clip art, and its Debian package, for the tests."""

import pathlib
import random
import subprocess

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"
 viewBox="0 0 20 10" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><rdf:RDF><cc:Work>
<dc:creator><cc:Agent><dc:title>The Author</dc:title></cc:Agent></dc:creator>
{title}
<dc:subject><rdf:Bag><rdf:li>keyword</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Open Clip Art</dc:title></cc:Agent></dc:publisher>
</cc:Work></rdf:RDF></metadata>
{body}
</svg>
"""


def write_svg(
    path: pathlib.Path,
    title: str | None = None,
    number: int = 0,
    width: str = "20",
    height: str = "10",
    body: str | None = None,
) -> pathlib.Path:
    """Writes one file; `number` decides what the picture shows."""
    if body is None:
        body = _draw_checks(random.Random(number))
    element = "" if title is None else f"<dc:title>{title}</dc:title>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SVG.format(width=width, height=height, title=element, body=body))
    return path


def write_library(root: pathlib.Path) -> None:
    """Writes 40 good files of four classes, and one of each kind that is not."""
    number = 0
    for folder in ("animals/birds", "food", "plants", "signs_and_symbols/flags/asia"):
        for index in range(10):
            number += 1
            title = f"{folder[:3]} number {index}"
            write_svg(root / folder / f"{index}.svg", title, number)
    (root / "animals" / "link.svg").symlink_to(root / "food" / "0.svg")
    write_svg(root / "animals" / "no_title.svg")
    write_svg(root / "food" / "broken.svg").write_text("<svg><g></svg>")
    write_svg(root / "food" / "blank.svg", "Blank", body="<g/>")
    write_svg(root / "food" / "no_size.svg", "No size", width="0", height="0")
    for index in range(13):
        write_svg(root / "computer" / f"theme_{index}.svg", "Icon theme", 90 + index)
    write_svg(root / "science" / "atom.svg", "Atom", 80)
    write_svg(root / "signs_and_symbols/flags/semaphore/a.svg", "Semaphore A", 81)


def build_package(folder: pathlib.Path, version: str) -> pathlib.Path:
    """Builds a Debian package of the library in `folder` and returns its path."""
    tree = folder / "tree"
    write_library(tree / "usr/share/openclipart/svg")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        f"Package: openclipart-svg\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Nobody <nobody@example.org>\nDescription: clip art for a test\n"
    )
    path = folder / "packages" / "openclipart-svg_1_all.deb"
    path.parent.mkdir()
    command = ["dpkg-deb", "--build", "--root-owner-group", str(tree), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def _draw_checks(rng: random.Random) -> str:
    return "".join(
        f'<rect x="{x}" y="{y}" width="2" height="2" '
        f'fill="#{rng.randrange(0x1000000):06x}"/>'
        for x in range(0, 20, 2)
        for y in range(0, 10, 2)
    )
