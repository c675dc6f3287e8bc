"""Which runs train as one program, and whether they should: decided once a sweep, and kept.

Fused and solo runs agree to rounding, which training amplifies. So a sweep is all one or all the other.
"""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgpt.lab.question.code import own_code
from jaxgpt.lab.question.settings import Lab
from jaxgpt.lab.run_files import is_count, read_mapping, read_result, write_text
from jaxgpt.lab.sweep.plan import Cell, Plan
from jaxgpt.lab.sweep.timing import Pace, fused_pace, solo_pace
from jaxgpt.lab.workers import failure
from jaxgpt.spec import ConfigError, digest

FILE = "fuse.json"


class Mode(NamedTuple):
    """How a sweep's runs are computed."""

    fused: bool
    lanes: int
    """Runs in one program; 1 where they are solo."""
    why: str


class Unit(NamedTuple):
    """What a worker claims: one run, or a group that trains as one program."""

    key: str
    cells: tuple[Cell, ...]
    halvings: int = 0
    """How often the group was halved before it fitted into memory."""


def read_mode(folder: Path) -> Mode | None:
    """What the sweep in `folder` has settled on; None: nothing yet. Raises ConfigError when the file is torn."""
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    remedy = "put back a copy, or remove it to have the choice made again while no run has ended"
    try:
        content = read_mapping(path)
    except ConfigError as error:
        if not os.path.lexists(path):
            return None
        raise ConfigError(f"{error}; {remedy}") from None
    fused, lanes, why = content.get("fused"), content.get("lanes"), content.get("why")
    if not (isinstance(fused, bool) and is_count(lanes) and lanes and isinstance(why, str)):
        raise ConfigError(f"{path}: not the choice of a sweep; {remedy}")
    return Mode(fused, lanes, why)


def decide(plan: Plan, folder: Path, settings: Lab) -> Mode:
    """Settles the mode and writes it to fuse.json, with what was measured; a settled one is kept.

    Raises ConfigError when `lab.fuse` now asks for the other mode, or for one that some run cannot have.
    """
    chosen = read_mode(folder)
    if chosen is not None:
        if settings.fuse == ("off" if chosen.fused else "on"):
            way = "fused" if chosen.fused else "solo"
            raise ConfigError(
                f"lab.fuse: {settings.fuse}, but the runs in {folder} are {way}, and the two are never paired; "
                "choose another --out, or leave lab.fuse out"
            )
        if chosen.fused and (why := _refusal(plan.cells)) is not None:
            raise ConfigError(f"lab.fuse: the runs in {folder} are fused, but {why}; choose another --out")
        return chosen
    why = "lab.fuse=off" if settings.fuse == "off" else _obstacle(plan, folder)
    if why is not None and settings.fuse == "on":
        raise ConfigError(f"lab.fuse: on, but {why}; use lab.fuse=off")
    measured: dict[str, Any] = {}
    if why is not None:
        mode = Mode(False, 1, why)
    else:
        lanes = settings.lanes or _lanes(plan, settings)
        mode = Mode(True, lanes, "lab.fuse=on")
        if settings.fuse == "auto":
            timed = _faster(plan, lanes)
            if timed is None:
                return Mode(False, 1, "no run could be timed")  # for now: the runs will tell why
            mode, measured = timed
    text = json.dumps({"fused": mode.fused, "lanes": mode.lanes, "why": mode.why, "measured": measured}, indent=1)
    write_text(folder / FILE, text + "\n")
    return mode


def units(plan: Plan, mode: Mode) -> list[Unit]:
    """The plan's runs as what is claimed, in the plan's order."""
    if not mode.fused:
        return [Unit(cell.id, (cell,)) for cell in plan.cells]
    lanes = mode.lanes
    parts = [group[i : i + lanes] for group in groups(plan.cells) for i in range(0, len(group), lanes)]
    places = {cell.path: index for index, cell in enumerate(plan.cells)}
    return [_unit(part) for part in sorted(parts, key=lambda part: places[part[0].path])]


def halved(unit: Unit, folder: Path) -> list[Unit]:
    """The unit, or its halves where it failed for memory, and theirs: each by what its own runs did."""
    failures = [failure.read(folder / cell.path) for cell in unit.cells] if len(unit.cells) > 1 else []
    if not any(failed is not None and too_large(unit, failed) for failed in failures):
        return [unit]
    middle = (len(unit.cells) + 1) // 2
    halves = (unit.cells[:middle], unit.cells[middle:])
    return [part for half in halves for part in halved(_unit(half, unit.halvings + 1), folder)]


def too_large(unit: Unit, failed: failure.Failure) -> bool:
    """Whether a run of the unit failed for memory with as few neighbours as it has there, not only with more."""
    return failed.cls == "oom" and failed.attempts > unit.halvings


def groups(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells that share a program: they differ in seed and inputs only."""
    by_program: dict[Any, list[Cell]] = {}
    for cell in cells:
        by_program.setdefault((cell.run.signature(), tuple(own_code(cell.run))), []).append(cell)
    return list(by_program.values())


def _unit(cells: Sequence[Cell], halvings: int = 0) -> Unit:
    return Unit(digest([cell.id for cell in cells]), tuple(cells), halvings)


def _obstacle(plan: Plan, folder: Path) -> str | None:
    """Why nothing is to be fused; None: it may be."""
    done = [result for cell in plan.cells if (result := read_result(folder / cell.path)) is not None]
    if any(result.get("mode") != "fused" for result in done):
        return "runs that have finished are solo"
    return _refusal(plan.cells) or _unlike(plan.cells)


def _refusal(cells: Sequence[Cell]) -> str | None:
    """Why the sweep cannot be fused; None: it can."""
    from jaxgpt.train.fused.program import refusal

    for cell in cells:
        why = refusal(cell.run)
        if why is not None:
            return f"arm {cell.arm!r} cannot be fused: {why}"
    return None


def _unlike(cells: Sequence[Cell]) -> str | None:
    return None if any(len(group) > 1 for group in groups(cells)) else "no two runs share a program"


def _lanes(plan: Plan, settings: Lab) -> int:
    """One a device on a CPU, where more made each slower; on accelerators the largest group. Never so many that a
    worker of the engine would be left without a program."""
    import jax

    largest = max(len(group) for group in groups(plan.cells))
    most = jax.device_count() if jax.default_backend() == "cpu" else largest
    workers = getattr(settings.engine, "workers", 1)
    return max(1, min(largest, most, len(plan.cells) // workers))


def _faster(plan: Plan, lanes: int) -> tuple[Mode, dict[str, Any]] | None:
    """Times both on the group with most to do, compiling included, for the whole of its runs.

    A group whose run fails on its own tells nothing and is passed over; None where all do.
    """
    if lanes < 2:
        return Mode(False, 1, "no more than one lane for each program: one device, or as many workers as runs"), {}
    several = [group for group in groups(plan.cells) if len(group) > 1]
    for group in sorted(several, key=lambda cells: -sum(cell.run.steps for cell in cells)):
        runs = [cell.run for cell in group]
        try:
            solo = solo_pace(runs[0])
        except ConfigError:
            raise
        except Exception:  # the run itself will fail too, and be told about
            continue
        try:
            fused, lanes = _fitting(runs, lanes)
        except Exception as error:
            return Mode(False, 1, f"as one program they fail: {type(error).__name__}: {error}"), {}
        alone = solo.compile + len(runs) * runs[0].steps * solo.step
        together = fused.compile + -(-len(runs) // lanes) * runs[0].steps * fused.step
        mode = Mode(together < alone, lanes if together < alone else 1, f"{together / alone:.2f} of the solo time")
        return mode, {
            "runs": len(runs),
            "lanes": lanes,
            "solo": solo._asdict() | {"all": alone},
            "fused": fused._asdict() | {"all": together},
        }
    return None


def _fitting(runs: Sequence[Any], lanes: int) -> tuple[Pace, int]:
    """The pace of as many lanes as fit into memory: `lanes`, or half of them, and so on."""
    while True:
        try:
            return fused_pace(runs[:lanes]), lanes
        except Exception as error:
            if lanes < 2 or failure.classify(error) != "oom":
                raise
            lanes //= 2
