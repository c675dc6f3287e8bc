"""A part's own process: runs `module:function`, and writes what it learns to stdout, a line of JSON at once.

Lines: `{"device": name}` first, `{"figure": [name, number]}`, `{"note": text}`, `{"at": what is under way}`, and
`{"skipped": why}` or `{"failed": why}` as the last, where it is one.
"""

import importlib
import json
import math
import sys
import traceback
from functools import cached_property
from typing import Any

from peer import private_stdout

from gpu.budget import TINY


class Skipped(Exception):
    """Why a part cannot run here."""


class Wrong(Exception):
    """What a part found that must not be."""


class Report:
    """Where a part says what it measured."""

    def __init__(self, quick: bool):
        self._quick, self._out, self._noted = quick, private_stdout(), set[str]()

    @cached_property
    def small(self) -> bool:
        """Whether shapes are tiny: without a GPU, and where asked for. Starts jax, and says on what."""
        import jax

        gpu = jax.default_backend() == "gpu"
        from harness import cpu

        small = self._quick or not gpu
        name = jax.devices()[0].device_kind if gpu else cpu()
        self._say("device", f"{name}, {TINY}" if small else name)
        return small

    def figure(self, name: str, value: float) -> None:
        """A number, which is on disk before the next is measured."""
        if not math.isfinite(value):
            raise Wrong(f"{name} is {value}")
        self._say("figure", [name, float(f"{value:.5g}")])

    def note(self, text: str) -> None:
        """A line that a reader of the figures needs; once is enough."""
        if text not in self._noted:
            self._noted.add(text)
            self._say("note", text)

    def at(self, what: str) -> None:
        """What is under way, to be named should the part be killed in it."""
        self._say("at", what)

    def _say(self, name: str, value: Any) -> None:
        print(json.dumps({name: value}), file=self._out, flush=True)

    def run(self, target: str) -> int:
        """Runs a part; the exit status."""
        module, _, function = target.partition(":")
        try:
            getattr(importlib.import_module(module), function)(self)
        except Skipped as why:
            self._say("skipped", str(why))
        except Exception as error:
            if not isinstance(error, Wrong):
                traceback.print_exc()
            said = str(error).strip().splitlines()
            self._say("failed", f"{type(error).__name__}: {said[0] if said else ''}"[:300])
            return 1
        return 0


if __name__ == "__main__":
    from gpu.part import Report  # as the parts know it: this module has another name here

    sys.exit(Report("--quick" in sys.argv).run(sys.argv[1]))
