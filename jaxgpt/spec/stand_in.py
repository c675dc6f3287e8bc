"""Files that stand in for another: what Git LFS leaves where it has fetched nothing, and a web page saved under the
name of what it offers."""

from contextlib import suppress
from pathlib import Path

from jaxgpt.spec.errors import ConfigError

HEAD = 256
"""Bytes that tell."""
POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error>")


def refuse_stand_in(path: Path | str, head: bytes | None = None) -> None:
    """Raises ConfigError, with the remedy, for a file that is a Git LFS pointer or a web page.

    `head`: its first bytes, where they are known. What cannot be read is left for others to refuse.
    """
    if head is None:
        with suppress(OSError), Path(path).open("rb") as file:
            head = file.read(HEAD)
    if head is None:
        return
    if head.startswith(POINTERS):
        raise ConfigError(
            f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in its folder, or download it again"
        )
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:16].lower().startswith(PAGES):
        raise ConfigError(
            f"{path}: a web page, not the file itself; download it again (of a hub by /resolve/, not /blob/)"
        )
