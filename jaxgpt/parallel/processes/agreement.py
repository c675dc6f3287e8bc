"""What the processes of a run tell each other besides arrays: through the key-value store of jax's coordinator.

Every process must call these functions in the same order. With one process they cost nothing.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jax._src import distributed  # jax has no public name for the store; Orbax takes it from here as well

from jaxgpt.spec import ConfigError, JaxgptError, diff

_FOREVER = 7 * 24 * 3600 * 1000
"""Milliseconds. Nobody waits so long: when a process is gone, the watchdog ends the others."""
_CALLS = itertools.count()


def process_count() -> int:
    """Processes of this run. Unlike jax's function of this name it does not start the backend."""
    return distributed.global_state.num_processes if store() is not None else 1


def process_index() -> int:
    """The number of this process among those of the run, from 0."""
    return distributed.global_state.process_id if store() is not None else 0


def store() -> Any:
    """The client of the coordinator; None in a process by itself."""
    return distributed.global_state.client


def gather_lines(topic: str, line: str = "") -> list[str]:
    """Waits for all processes and returns the lines that they brought, in their order; empty ones are left out."""
    if process_count() == 1:
        return [line] if line else []
    key = f"jaxgpt/{next(_CALLS)}/{topic}"
    if line:
        store().key_value_set(f"{key}/{process_index():06d}", line)
    store().wait_at_barrier(key, _FOREVER)
    return [value for _, value in sorted(store().key_value_dir_get(f"{key}/"))]


def from_first(topic: str, value: Any) -> Any:
    """The value that the first process brought (JSON), for all."""
    if process_count() == 1:
        return value
    key = f"jaxgpt/{next(_CALLS)}/{topic}"
    if process_index() == 0:
        store().key_value_set(key, json.dumps(value))
        return value
    return json.loads(store().blocking_key_value_get(key, _FOREVER))


@contextmanager
def raise_together(topic: str, kind: type[Exception] = JaxgptError) -> Iterator[None]:
    """An error of this kind that one process raises inside, all raise at the end, where each waits for the others."""
    own_error: Exception | None = None
    try:
        yield
    except kind as error:
        own_error = error
    lines = gather_lines(topic, "" if own_error is None else str(own_error))
    if own_error is not None:
        raise own_error
    if lines:
        raise kind(lines[0])


def agree(facts: Mapping[str, Any], remedy: str) -> None:
    """Raises ConfigError in all processes, naming what differs, unless all bring the same facts (JSON)."""
    if process_count() == 1:
        return
    first = from_first("facts", facts)
    with raise_together("agree"):
        differs = diff(first, json.loads(json.dumps(facts)))
        if differs:
            raise ConfigError(
                f"{name}: process 0 has {theirs!r}, process {process_index()} has {own!r}; {remedy}"
                for name, (theirs, own) in differs.items()
            )
