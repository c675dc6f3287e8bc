"""Whether jax can start here, told in one line: else it is a traceback, or the end of the process."""

import os
import resource
import signal
import warnings
from contextlib import suppress
from functools import lru_cache

import jax

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

REMEDY = {
    "cuda": "pip install 'jaxgpt[cuda]' on a machine with an NVIDIA GPU",
    "gpu": "pip install 'jaxgpt[cuda]' on a machine with an NVIDIA GPU",
    "tpu": "pip install 'jaxgpt[tpu]' on a machine with TPUs",
}
"""What to install, and where, for a platform of jax to work."""
PATIENCE = 20
"""Seconds that reading the flags may take, which takes milliseconds."""


def start() -> None:
    """Starts jax's backend, once. Raises ConfigError where it cannot start."""
    check_flags()
    if (why := failure()) is not None:
        raise ConfigError(why)


def failure() -> str | None:
    """Why jax has no devices here, in one line with its remedy; None where it has."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second, without a word, for a plugin that is not installed
        asked = str(jax.config.values["jax_platforms"] or "")
        said = next(iter(str(error).splitlines()), "").partition(" (set JAX_PLATFORMS")[0]
        said = said or f"there is no such device here, or the plugin of jax for {asked} is not installed"
        ways = [REMEDY[name] for name in asked.split(",") if name in REMEDY]
        remedy = ", or ".join(["unset JAX_PLATFORMS", *ways]) if asked else "see `jaxgpt doctor`"
        return f"JAX_PLATFORMS={quote(asked)[1:-1]}: jax cannot start: {said.rstrip('.')}; {remedy}"
    return None


def check_flags() -> None:
    """Raises ConfigError for XLA_FLAGS that XLA does not know: on them it aborts the process."""
    flags = os.environ.get("XLA_FLAGS", "").strip()
    if flags and (why := _refusal(flags)) is not None:
        raise ConfigError(f"XLA_FLAGS={quote(flags)[1:-1]}: {why}; correct it, or unset XLA_FLAGS")


@lru_cache
def _refusal(flags: str) -> str | None:
    """What XLA says of the flags. Asked in a child process, which it may end."""
    try:
        from jaxlib import xla_client

        options = xla_client.CompileOptions
    except (ImportError, AttributeError):  # moved, in some later jax: XLA will say it itself
        return None
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that threads are not copied: the child needs none
        child = os.fork()
    if child == 0:
        with suppress(BaseException):
            signal.alarm(PATIENCE)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.dup2(into, 1)
            os.dup2(into, 2)
            options()
            os._exit(0)
        os._exit(1)
    os.close(into)
    with os.fdopen(out, "rb") as pipe:
        said = pipe.read(1 << 20).decode(errors="replace").splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status in (0, -signal.SIGALRM):
        return None
    line = next((line for line in said if line.strip()), "XLA does not accept it")
    return line.partition("] ")[2] or line if line[:1] in "EF" else line
