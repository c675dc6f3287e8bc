"""What a model has answered before, so that an evaluation that was killed goes on from there."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxgpt.disk import cache_dir

SCHEMA = 1
"""Raised when a question's answer changes its meaning."""


def key(*parts: bytes | str) -> str:
    """A question by what decides its answer."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big") + data)
    return sha.hexdigest()[:32]


class Remembered(Mapping[str, Any]):
    """Answers by question, of one model: a line of JSON each, in JAXGPT_CACHE under the model's digest. Lines are added
    as answers come; one that a kill cut short is left out when they are read."""

    def __init__(self, digest: str):
        self.path = cache_dir() / "evals" / f"{digest[:32]}-{SCHEMA}.jsonl"
        self._answers: dict[str, Any] = {}
        if self.path.is_file():
            with self.path.open("rb") as file:
                for line in file:
                    name, answer = _read(line)
                    if name is not None:
                        self._answers[name] = answer

    def __getitem__(self, name: str) -> Any:
        return self._answers[name]

    def __iter__(self) -> Any:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, answers: Iterable[tuple[str, Any]]) -> None:
        """Writes answers down; without a cache folder that can be written to, for this process alone."""
        new = dict(answers)
        self._answers |= new
        text = "".join(json.dumps([name, answer], ensure_ascii=True) + "\n" for name, answer in new.items())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            ends = not self.path.is_file() or _ends(self.path)
            with self.path.open("ab") as file:
                file.write((text if ends else "\n" + text).encode())
        except OSError:
            return


def _read(line: bytes) -> tuple[str | None, Any]:
    try:
        name, answer = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return None, None
    return (name, answer) if isinstance(name, str) and line.endswith(b"\n") else (None, None)


def _ends(path: Path) -> bool:
    """Whether the last line is whole."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
