"""Which clip art becomes a pair: its label by folder, its title from the RDF."""

import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

CLASSES = (
    "animals",
    "computer",
    "flags",
    "food",
    "geography",
    "office",
    "people",
    "plants",
    "recreation",
    "signs_and_symbols",
    "tools",
    "transportation",
)
# A title that more files share is the name of an icon theme, not of a picture.
MAX_FILES_PER_TITLE = 12
TITLE_TAG = "{http://purl.org/dc/elements/1.1/}title"


@dataclasses.dataclass(frozen=True)
class Clipart:
    """A file of the library: path below its root, path, class name and title."""

    id: str
    path: pathlib.Path
    label: str
    title: str


@dataclasses.dataclass(frozen=True)
class Selection:
    """What was selected, what was left out by rule, and what could not be read.

    Attributes:
        cliparts: ordered by id.
        excluded: number of files of the classes by reason.
        failures: reason by id.
    """

    cliparts: list[Clipart]
    excluded: dict[str, int]
    failures: dict[str, str]


def select_cliparts(root: pathlib.Path) -> Selection:
    """Returns the clip art of the classes that has a title of its own.

    Symbolic links, files without a title and titles that more than
    `MAX_FILES_PER_TITLE` files of the classes share are left out.

    Args:
        root: folder of the library, with one folder a topic.
    """
    links, titled, failures = 0, [], {}
    for path in sorted(root.rglob("*.svg")):
        clipart_id = path.relative_to(root).as_posix()
        label = get_label(clipart_id)
        if label is None:
            continue
        if path.is_symlink():
            links += 1
            continue
        try:
            title = read_title(path)
        except ElementTree.ParseError as error:
            failures[clipart_id] = f"not well-formed XML: {error}"
            continue
        titled.append(Clipart(clipart_id, path, label, title))
    sharing = Counter(clipart.title for clipart in titled)
    cliparts = [
        clipart
        for clipart in titled
        if clipart.title and sharing[clipart.title] <= MAX_FILES_PER_TITLE
    ]
    excluded = {
        "symbolic link": links,
        "no title": sharing[""],
        "theme title": len(titled) - sharing[""] - len(cliparts),
    }
    return Selection(cliparts, excluded, failures)


def get_label(clipart_id: str) -> str | None:
    """Returns the class name of a path below the root, or None for no class."""
    folders = clipart_id.split("/")[:-1]
    if folders[:2] == ["signs_and_symbols", "flags"]:
        return None if "semaphore" in folders else "flags"
    is_class = bool(folders) and folders[0] in CLASSES and folders[0] != "flags"
    return folders[0] if is_class else None


def read_title(path: pathlib.Path) -> str:
    """Returns the work's own `dc:title` as typed, or "" where there is none.

    The titles of its author and publisher (`cc:Agent`) are not the work's.

    Raises:
        xml.etree.ElementTree.ParseError: the file is not well-formed.
    """
    titles = (
        (element.text or "").strip()
        for work in _find_works(ElementTree.parse(path).getroot())
        for element in work.findall(TITLE_TAG)
    )
    return next((title for title in titles if title), "")


def _find_works(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    # Creative Commons' namespace has two addresses in these files.
    return (e for e in root.iter() if str(e.tag).endswith("}Work"))
