"""Which files a corpus is: those that a path, a folder or a glob names, and nothing that only lies about there.

Hidden files and folders, among them what editors and notebooks leave, are no part of a folder. A link to a folder is
followed, and each folder is read once, however many links lead to it.
"""

import glob
import os
import sysconfig
from collections import deque
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from jaxgpt.disk import resolve
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text.corpora.formats import endings, format_of
from jaxgpt.text.corpora.locate import locate
from jaxgpt.text.corpora.utf8 import check_regular

STDLIB_SKIPS = frozenset({"site-packages", "dist-packages", "__pycache__"})
Files = tuple[tuple[str, Path], ...]
"""`(key, path)` in order of the keys, the paths relative to what all of them have in common."""


def stdlib_files() -> Files:
    """The running Python's own library as source text, its tests included: about 30 MB on every machine."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in STDLIB_SKIPS]  # never entered: they can be vast
        paths += [Path(folder, name) for name in names if name.endswith(".py")]
    return tuple(sorted((path.relative_to(root).as_posix(), path) for path in paths if path.is_file()))


def find_files(name: str, field: str = "data.corpus") -> Files:
    """The files of the corpus `name`, which stands in `field`: a file or folder of that very name comes before a glob.

    Raises ConfigError, one line, for what is not there or cannot be read.
    """
    try:
        return _lookup(name, field)
    except OSError as error:  # of a folder that may not be entered
        raise ConfigError(f"{field}: {quote(name, 200)}: cannot be read: {error.strerror}") from None


def _lookup(name: str, field: str) -> Files:
    try:
        path = locate(name, field)
    except ConfigError:
        if not glob.has_magic(name) or "\0" in name:
            raise
        return _keyed(_globbed(name, field))
    if not path.is_dir():
        check_regular(path, _status(path))
        return ((path.name, path),)
    paths = [
        file
        for folder in _folders(path)
        for file in _entries(folder)
        if format_of(file) is not None and not file.is_dir()
    ]
    if not paths:
        raise ConfigError(
            f"{field}: {path} holds no {endings()}; give a glob such as '{glob.escape(str(path))}/**/*.py'"
        )
    return _keyed(paths)


def _globbed(name: str, field: str) -> list[Path]:
    given = os.environ.get("JAXGPT_DATA")
    roots = [*([resolve(given, "JAXGPT_DATA")] if given else []), Path.cwd()]
    head, *rest = Path(name).parts
    if head.startswith("~"):
        roots, parts = [resolve(head, field)], rest
    elif Path(name).is_absolute():
        roots, parts = [Path(head)], rest
    else:
        parts = [head, *rest]
    for root in roots:
        if paths := sorted({path for path in _matches(root, parts) if not path.is_dir()}):
            return paths
    raise ConfigError(f"{field}: no file matches {quote(name, 200)}" + (f" here or in {roots[0]}" if roots[1:] else ""))


def _matches(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """What a glob, given in its parts, means in a folder; a part that is there letter for letter means itself."""
    if not parts:
        yield folder
        return
    head, *rest = parts
    if head == "**":
        while rest[:1] == ["**"]:
            rest = rest[1:]
        for inner in _folders(folder):
            yield from _matches(inner, rest or ["*"])
    elif os.path.lexists(folder / head) or not glob.has_magic(head):
        if (folder / head).exists():
            yield from _matches(folder / head, rest)
    elif folder.is_dir():
        for path in _entries(folder, hidden=head.startswith(".")):
            if fnmatchcase(path.name, head):
                yield from _matches(path, rest)


def _folders(root: Path) -> Iterator[Path]:
    """A folder and all below it that are not hidden, each once: those that are there before those that are linked."""
    seen: set[tuple[int, int]] = set()
    here, linked = deque([root]), deque[Path]()
    while here:
        folder = here.popleft()
        status = _status(folder)
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield folder
            for path in _entries(folder):
                if path.is_dir():
                    (linked if path.is_symlink() else here).append(path)
        if not here and linked:
            here.append(linked.popleft())


def _entries(folder: Path, hidden: bool = False) -> list[Path]:
    """What lies in a folder, in order of the names."""
    try:
        return sorted(path for path in folder.iterdir() if hidden or not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from None


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:  # a link to nothing, for one
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; remove it from the corpus") from None


def _keyed(paths: list[Path]) -> Files:
    for path in paths:
        check_regular(path, _status(path))
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return tuple(sorted((path.relative_to(root).as_posix(), path) for path in paths))
