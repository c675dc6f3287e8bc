"""Files that are either whole or absent, strict JSON, and the folder of what can be made again."""

import json
import math
import os
import re
import shutil
import socket
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import MOST, kind_of, read_small

DEPTH = 32
"""How deep what is inside a JSON file may be nested: who walks through it must come to an end."""

_HOST = re.sub(r"[^\w.-]", "_", socket.gethostname())[:60]


def cache_dir() -> Path:
    """The folder JAXGPT_CACHE, or ~/.cache/jaxgpt: token files and compiled programs."""
    return resolve(os.environ.get("JAXGPT_CACHE") or "~/.cache/jaxgpt", "JAXGPT_CACHE")


def resolve(path: str | Path, name: str = "") -> Path:
    """The absolute path that a user meant: `~` expanded, links to folders and `..` followed, relative to the current
    folder. A link to a file keeps its own name, by which formats and runs are told apart.

    Called once, where a path comes in; nothing below has to think of it again. The path need not exist. Raises
    JaxgptError, with the option or field `name` in front, for what cannot be a path: nothing at all, a NUL character,
    `~` of a user who is not there, a name that is too long, a circle of links, a folder that may not be entered.
    """
    try:
        if not isinstance(path, str | Path):
            raise TypeError("expected a string or a Path")
        if not str(path):
            raise ValueError("it is empty")
        given = Path(path).expanduser()
        whole = given.resolve()
        try:
            folder = stat.S_ISDIR(os.stat(whole).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            folder = False
        os.fspath(whole).encode()  # a name that is not UTF-8 could be written to no config, report or terminal
        return whole if folder or given.name in ("", "..") else given.parent.resolve() / given.name
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        if isinstance(error, UnicodeError):
            said = "its name is not UTF-8"
        front, shown = f"{name}: " if name else "", str(path) if isinstance(path, Path) else path
        raise JaxgptError(f"{front}{quote(shown, 200)}: not a path: {said}; give another") from None


def typed(path: Path) -> str:
    """`path` as one would type it here: relative to the current folder where it lies below it."""
    with suppress(OSError, ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path`; on success it is synced and takes the name, on any error it is removed.

    The temporary name is unique, so processes that write the same file at once cannot mix bytes: the last one wins.
    Raises JaxgptError naming the path when it cannot be written, and for a device or a pipe, which is never replaced;
    what stood there before then still stands.
    """
    if path.is_dir():
        raise JaxgptError(f"{path}: is a folder, where a file is to be written; name the file")
    with suppress(OSError, ValueError):
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):  # root could: the machine's /dev/null would be gone
            raise JaxgptError(f"{path}: {kind_of(mode)}, and a file would take its place; name a file")
    draft = _draft(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        sync_dir(path.parent)
    except OSError as error:
        raise JaxgptError(
            f"{path}: cannot be written: {error.strerror}; free space, or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Makes a folder beside `path` to be filled; on success it is synced and takes the name, on any error it is gone.

    Raises JaxgptError when `path` is there already and holds anything, or cannot be written.
    """
    path = path.absolute()
    draft = _draft(path)
    try:
        if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
            raise JaxgptError(f"{path}: is there already and is not written over; remove it, or choose another name")
        draft.mkdir(parents=True)
        yield draft
        for entry in sorted(draft.rglob("*")):
            if entry.is_file():
                with entry.open("rb") as file:
                    os.fsync(file.fileno())
            else:
                sync_dir(entry)
        sync_dir(draft)
        os.replace(draft, path)  # takes the place of an empty folder, and of nothing else
        sync_dir(path.parent)
    except OSError as error:
        raise JaxgptError(f"{path}: cannot be written: {error.strerror}; choose another folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draft(path: Path) -> Path:
    """A new name beside `path` that tells whose it is, and is as short for a long name as for a short one."""
    return path.with_name(f".draft-{os.getpid()}-{uuid.uuid4().hex[:16]}-{_HOST}.tmp")


def clear_drafts(folder: Path) -> None:
    """Removes what `atomic` and `new_folder` had begun in `folder`, and two floors below it, in processes of this host
    that were killed. No deeper: `folder` is what a user named, and may hold half a disk."""
    drafts: list[Path] = []
    for below in ("", "*/", "*/*/"):
        with suppress(OSError):  # others may be at work there
            drafts += folder.glob(f"{below}.draft-*.tmp")
    for draft in drafts:
        number, _, host = draft.name.removeprefix(".draft-").removesuffix(".tmp").partition("-")
        if host.partition("-")[2] != _HOST or not number.isdigit() or _lives(int(number)):
            continue
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def sync_dir(path: Path) -> None:
    """Makes the names inside a directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def strict(value: Any, path: str = "") -> tuple[Any, list[str]]:
    """`value` as strict JSON, and the dotted paths of the NaN and infinite numbers that became null on the way.

    Takes scalars and arrays of numpy and jax as numbers and lists. Raises TypeError for what JSON cannot hold.
    """
    if isinstance(value, Mapping):
        parts = {str(key): strict(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
        return {key: item for key, (item, _) in parts.items()}, [name for _, lost in parts.values() for name in lost]
    if isinstance(value, list | tuple):
        items = [strict(item, f"{path}.{index}" if path else str(index)) for index, item in enumerate(value)]
        return [item for item, _ in items], [name for _, lost in items for name in lost]
    if value is None or isinstance(value, bool | int | str):
        return value, []
    if isinstance(value, float):  # float() also sheds numpy's subclass of it
        return (float(value), []) if math.isfinite(value) else (None, [path])
    if isinstance(value, Path):
        return str(value), []
    if hasattr(value, "tolist"):  # numpy and jax
        return strict(value.tolist(), path)
    raise TypeError(f"{path}: {type(value).__name__} is not JSON")


def write_json_atomic(path: Path, value: Any) -> None:
    """Writes JSON that a reader sees whole or not at all. NaN and infinity become null. Raises as `atomic` does."""
    text = json.dumps(strict(value)[0], indent=2, allow_nan=False) + "\n"
    with atomic(Path(path)) as file:
        file.write(text.encode())


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes an object a line, UTF-8, whole or not at all. NaN and infinity become null. Raises as `atomic` does."""
    with atomic(path) as file:
        for row in rows:
            file.write(json.dumps(strict(row)[0], ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def read_json(path: str | Path, most: int = MOST) -> Any:
    """The content of a small JSON file. Raises ConfigError, one line that begins with the path, for what `read_small`
    refuses and for what is not JSON as the standard has it: NaN, infinite numbers, and values nested without end."""
    try:
        value = json.loads(read_small(path, most), parse_constant=_no_number, parse_float=_finite)
        level = [value]
        for _ in range(DEPTH):
            level = [item for outer in level if isinstance(outer, dict | list) for item in _inside(outer)]
            if not level:
                return value
    except ConfigError:
        raise
    except RecursionError:
        pass
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {quote(str(error), 120)[1:-1]}") from None
    raise ConfigError(f"{path}: nested more than {DEPTH} deep, as nothing of ours is")


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is too large")
    return value
