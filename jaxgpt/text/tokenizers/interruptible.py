"""Long calls into a library that does not hear Ctrl-C: they run on a thread of their own, and Python waits."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

GRACE = 1.0
"""Seconds that an interrupted call has to notice, and to leave the terminal as it was."""

T = TypeVar("T")


def interruptible(call: Callable[[], T], stopped: threading.Event | None = None) -> T:
    """`call()`, whose result or error is passed on. Ctrl-C ends the waiting at once, whatever the call does.

    Then `stopped` is set, for the call to end by (see `until`); else it goes on unseen until it is done, or until the
    process ends. Only the main thread hears signals: on any other the call simply runs.
    """
    done = threading.Event()
    result: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            result.append(call())
        except BaseException as error:  # passed on below, the panics of Rust among them
            if stopped is None or not stopped.is_set():  # else its frames, and all that they read from, would stay
                errors.append(error)
        finally:
            done.set()

    if threading.current_thread() is not threading.main_thread():
        return call()
    threading.Thread(target=work, daemon=True).start()
    try:
        done.wait()
    except BaseException:
        if stopped is not None:
            stopped.set()
            done.wait(GRACE)
        raise
    if errors:
        raise errors[0]
    return result[0]


def until(stopped: threading.Event, items: Iterable[T]) -> Iterator[T]:
    """`items`, until `stopped` is set: then asking for the next raises KeyboardInterrupt, and so ends who asks."""
    for item in items:
        if stopped.is_set():
            raise KeyboardInterrupt
        yield item
