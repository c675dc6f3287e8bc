"""Checkpoints: whole or not there, verified before use, never silently wrong.

    ckpt/step_00000200/arrays/...       what Orbax wrote: one array a leaf, named params/blocks/...
    ckpt/step_00000200/manifest.json    SHA-256 and size of every file, the step, `meta`; written last
    ckpt/best.json                      which step is marked best

A checkpoint is drafted as `.draft_*` and renamed into place when it is complete and synced. Only `save` removes
leftovers: it runs under the run's lock, while `restore` may read beside a run that is training.

Of a run of several processes all write and read their shards, and share the check of the hashes. What fails in one
fails in all, so that they go on from the same step or not at all.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jaxgpt.disk import strict
from jaxgpt.parallel.processes.agreement import from_first, process_count, process_index, raise_together
from jaxgpt.runs.checkpoint.arrays import describe, finish, named_leaves, restore_arrays, save_arrays
from jaxgpt.runs.checkpoint.leaf_names import dropped, stored_names
from jaxgpt.runs.checkpoint.manifest import DamagedError, Manifest, UnreadableError, verify, write_manifest
from jaxgpt.runs.checkpoint.retention import (
    best_step,
    draft_of,
    drop,
    folder_name,
    mark_best,
    publish,
    retain,
    start_draft,
    steps,
    warn,
)
from jaxgpt.runs.files.lock import in_use
from jaxgpt.spec import ConfigError, JaxgptError

RETRIES = 20
"""Times that a reader looks anew where a run that trains drops checkpoints."""


def save(
    directory: Path,
    step: int,
    tree: Any,
    meta: dict[str, Any],
    keep: int = 2,
    best: bool = False,
    pin: int | None = None,
) -> Path:
    """Saves a tree of arrays and returns its folder once it is complete on disk. Every process of a run calls it.

    `meta` is JSON (NaN and infinity become null). Afterwards the newest `keep` up to this step remain, the one marked
    best, and that of step `pin`; later steps belong to a future that this run has turned back from, and go. Raises
    JaxgptError naming the path when it cannot be written (earlier checkpoints are untouched) and ValueError for a leaf
    that is no array.
    """
    directory, named = Path(directory), named_leaves(tree)
    content = {"step": step, "meta": strict(meta)[0], "leaves": describe(named)}
    final = directory / folder_name(step)
    draft, first = draft_of(final), process_index() == 0
    with _stage(final):
        if first:
            start_draft(final)
            _check_space(directory, named)
            (draft / "arrays").mkdir()
    with _stage(final):
        save_arrays(draft / "arrays", named)
    with _stage(final):
        if first:
            finish(draft / "arrays", named)
            write_manifest(draft, **content)
            publish(draft, final)
            if best:
                mark_best(directory, step, content["meta"])
            retain(directory, step, keep, pin)
    return final


def restore(
    directory: Path,
    like: Any,
    step: int | None = None,
    best: bool = False,
    part: str = "",
    suits: Callable[[int, dict[str, Any]], bool] = lambda step, meta: True,
) -> tuple[int, Any, dict[str, Any]] | None:
    """`(step, tree, meta)` of the newest sound checkpoint, bitwise, or None when there is none at all.

    Newest goes by step number, never by time stamps. A damaged one is reported on the console and the one before it is
    taken; one that `suits(step, meta)` turns down is passed over. With `best` the marked one comes first; with `step`
    only that one will do. `like` gives structure, shapes, dtypes and shardings (arrays or `jax.ShapeDtypeStruct`); with
    `part="params"` it is that subtree of what was saved. A run that trains there may drop a checkpoint while it is
    read: then what is there now is looked at anew.

    Leaves are found under the names that older versions gave them, too.

    Raises JaxgptError when checkpoints exist but none is sound, or one cannot be read, and ConfigError listing every
    leaf that does not match.
    """
    directory = Path(directory)
    for _ in range(RETRIES):
        folders = steps(directory)
        with raise_together("candidates"):
            order = list(_candidates(directory, folders, step, best))
        try:
            return _first_sound(directory, folders, from_first("steps", order), like, part, suits)
        except _GoneError:
            continue
    raise JaxgptError(f"{directory}: checkpoints come and go faster than they can be read; try again")


def _first_sound(
    directory: Path,
    folders: dict[int, Path],
    order: list[int],
    like: Any,
    part: str,
    suits: Callable[[int, dict[str, Any]], bool],
) -> tuple[int, Any, dict[str, Any]] | None:
    wanted = {f"{part}/{name}" if part else name: leaf for name, leaf in named_leaves(like).items()}
    damaged: list[str] = []
    for number in order:
        try:
            with raise_together("verify", DamagedError):
                manifest = _sound(directory, folders, number)
            if not suits(number, manifest.meta):
                continue
            older = stored_names(manifest.leaves, wanted)
            stored = {older.get(name, name): leaf for name, leaf in wanted.items()}
            _check_match(folders[number], manifest, stored, part)
            with raise_together("read", DamagedError):
                leaves = restore_arrays(folders[number] / "arrays", stored)
        except DamagedError as error:
            if process_count() == 1 and steps(directory).get(number) != folders[number]:
                raise _GoneError from None
            if isinstance(error, UnreadableError):  # it may be sound: going on from an older one would drop it
                raise JaxgptError(f"{error}; make it readable, or try again") from None
            _say(f"damaged checkpoint, not used: {error}")
            damaged.append(str(number))
            continue
        if damaged:
            _say(f"step {number} restored instead of {', '.join(damaged)}")
        return number, jax.tree.unflatten(jax.tree.structure(like), leaves.values()), manifest.meta
    if not damaged:
        return None
    user = in_use(directory.parent)
    advice = f"{user} trains there" if user else "put back a copy, or move the folder away to start over"
    raise JaxgptError(f"{directory}: no sound checkpoint (damaged: step {', '.join(damaged)}); {advice}")


class _GoneError(Exception):
    """A checkpoint was dropped while it was read."""


@contextmanager
def _stage(final: Path) -> Iterator[None]:
    """A part of a save, which all processes end together: where it fails, the draft goes once none of them writes."""
    try:
        with raise_together(f"save {final.name}"):
            try:
                yield
            except (OSError, ValueError, RuntimeError, JaxgptError, DamagedError) as error:
                raise JaxgptError(
                    f"{final}: the checkpoint could not be written ({str(error).splitlines()[0]}); "
                    "earlier ones are intact, free space and run again"
                ) from error
    except JaxgptError:
        if process_index() == 0:
            drop(draft_of(final))
        raise


def _sound(directory: Path, folders: dict[int, Path], number: int) -> Manifest:
    if number not in folders:
        raise DamagedError(f"{directory}: process {process_index()} does not see step {number}")
    manifest = verify(folders[number], process_index(), process_count())
    if manifest.step != number:
        raise DamagedError(f"{folders[number]} holds step {manifest.step}")
    return manifest


def _say(line: str) -> None:
    if process_index() == 0:
        warn(line)


def _candidates(directory: Path, folders: dict[int, Path], step: int | None, best: bool) -> Iterator[int]:
    if not folders:
        return
    if step is not None:
        if step not in folders:
            raise JaxgptError(f"{directory}: no checkpoint of step {step}; there are {', '.join(map(str, folders))}")
        yield step
        return
    marked = best_step(directory) if best else None
    if marked is not None and marked not in folders:
        _say(f"{directory / 'best.json'} names step {marked}, which is gone")
    yield from sorted(folders, key=lambda number: (number != marked, -number))


def _check_match(folder: Path, manifest: Manifest, wanted: dict[str, Any], part: str) -> None:
    """Compares what was saved with what is asked for, leaf by leaf."""
    saved = {name: facts for name, facts in manifest.leaves.items() if not part or name.startswith(f"{part}/")}
    asked = describe(wanted)
    problems = [f"{name}: not in the checkpoint" for name in sorted(asked.keys() - saved)]
    extra = sorted(name for name in saved.keys() - asked if not dropped(name))
    problems += [f"{name}: in the checkpoint, not in this model or optimiser" for name in extra]
    for name in sorted(asked.keys() & saved):
        if asked[name] != saved[name]:
            problems.append(f"{name}: {_text(*saved[name])} in the checkpoint, {_text(*asked[name])} expected")
    if problems:
        remedy = "use the config.yaml of the run that saved it, or another --out"
        raise ConfigError([f"{folder}: does not fit this configuration; {remedy}", *problems])


def _text(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}{list(shape)}"


def _check_space(directory: Path, named: dict[str, Any]) -> None:
    """Refuses early and in one line what would otherwise end in the middle of a write."""
    needed, disk = sum(leaf.nbytes for leaf in named.values()), shutil.disk_usage(directory)
    if disk.total and disk.free < needed:  # some network file systems tell no size at all
        raise OSError(f"{needed / 1e9:.3g} GB needed, {disk.free / 1e9:.3g} GB free")
