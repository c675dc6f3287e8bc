"""What makes a checkpoint trustworthy: a list of its files with SHA-256 and size, written last and checked first.

Orbax restores a file with one flipped byte without a word, and takes a step directory for sound because it exists.
"""

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt

from jaxgpt.disk import sync_dir, write_json_atomic
from jaxgpt.spec import ConfigError, Spec, digest, parse

NAME = "manifest.json"
LONGEST = 1 << 28
"""Bytes of a manifest: it has some hundred for each file and leaf."""


class DamagedError(Exception):
    """A checkpoint is not what was written. The message names the file and what is wrong with it."""


class UnreadableError(DamagedError):
    """A checkpoint could not be read just now, which proves nothing: it may be sound. The message says why."""


class FileFacts(Spec):
    """What a file of a checkpoint must still be: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


class Manifest(Spec):
    """What a checkpoint holds. `leaves` gives dtype and shape by the leaf's path, `files` goes by relative path."""

    format: Literal[1] = 1
    step: NonNegativeInt
    meta: dict[str, Any]
    leaves: dict[str, tuple[str, tuple[int, ...]]]
    files: dict[str, FileFacts]


def write_manifest(directory: Path, **content: Any) -> None:
    """Syncs and hashes every file below `directory`, then writes the manifest there. `content`: the other fields."""
    sizes = _files(directory)
    with ThreadPoolExecutor() as pool:  # hashing and syncing both release the interpreter
        hashes = pool.map(_sync_and_hash, (directory / name for name in sizes))
        files = {name: FileFacts(size=sizes[name], sha256=sha256) for name, sha256 in zip(sizes, hashes, strict=True)}
        list(pool.map(sync_dir, {folder for name in sizes for folder in _between(directory, name)}))
    manifest = Manifest(files=files, **content)
    write_json_atomic(directory / NAME, {"sha256": digest(manifest, length=64), **manifest.model_dump(mode="json")})


def verify(directory: Path, share: int = 0, shares: int = 1) -> Manifest:
    """Reads the manifest and every file it lists; of several `shares`, the files of one. Raises DamagedError at the
    first thing that is wrong."""
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise DamagedError(f"{directory} is not a folder")
    sizes = _files(directory)
    size = sizes.pop(NAME, None)
    if size is None:
        raise DamagedError(f"{directory / NAME} is missing")
    if size > LONGEST:
        raise DamagedError(f"{directory / NAME} has {size:,} bytes; no manifest has over {LONGEST:,}")
    manifest = _read(directory / NAME)
    for name, facts in manifest.files.items():
        if name not in sizes:
            raise DamagedError(f"{directory / name} is missing")
        if sizes[name] != facts.size:
            raise DamagedError(f"{directory / name} has {sizes[name]} bytes, not {facts.size}")
    for name in sizes.keys() - manifest.files.keys():
        raise DamagedError(f"{directory / name} does not belong there (it is not in {NAME})")
    share_names = list(sizes)[share::shares]
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(_hash, (directory / name for name in share_names))
        for name, actual in zip(share_names, hashes, strict=True):
            if actual != manifest.files[name].sha256:
                raise DamagedError(f"{directory / name} has changed since it was written (SHA-256 differs)")
    return manifest


def _read(path: Path) -> Manifest:
    try:
        tree = json.loads(path.read_bytes())
        claimed = tree.pop("sha256")
        if claimed != digest(tree, length=64):  # a flipped digit in step or meta must not go unseen either
            raise DamagedError(f"{path} has changed since it was written (SHA-256 differs)")
        return parse(Manifest, tree)
    except ConfigError as error:
        raise DamagedError(f"{path}: {error.problems[0]}") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path} is not a manifest ({type(error).__name__})") from None


def _between(directory: Path, name: str) -> list[Path]:
    """The folders from `directory` down to the one that holds `name`."""
    return [directory / parent for parent in Path(name).parents]


def _files(directory: Path) -> dict[str, int]:
    """Size in bytes of every file below `directory`, by relative name. Follows no link and refuses to meet one."""
    sizes: dict[str, int] = {}
    pending = [directory]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    facts = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(facts.st_mode):
                        pending.append(Path(entry.path))
                    elif stat.S_ISREG(facts.st_mode):
                        sizes[Path(entry.path).relative_to(directory).as_posix()] = facts.st_size
                    else:
                        raise DamagedError(f"{entry.path} is a link or a device, not a file")
        except OSError as error:
            raise _unreadable(folder, error) from None
    return dict(sorted(sizes.items()))


def _hash(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UnreadableError:
    return UnreadableError(f"{path} cannot be read: {error.strerror}")


def _sync_and_hash(path: Path) -> str:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
