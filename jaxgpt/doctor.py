"""What this machine has, and what is wrong with it: `jaxgpt doctor`.

jax is asked in a child process, for a driver that does not answer must not keep the doctor waiting.
"""

import contextlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxgpt.disk import cache_dir, resolve
from jaxgpt.spec import JaxgptError
from jaxgpt.spec.errors import printable
from jaxgpt.terminal import byte_size

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers", "safetensors", "numpy")
PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin", "libtpu")
VARIABLES = (
    "JAXGPT_",
    "JAX_",
    "XLA_",
    "LIBTPU_",
    "TPU_",
    "CUDA_VISIBLE",
    "NCCL_",
    "SLURM_STEP",
    "OMPI_COMM",
    "OMP_NUM",
)
"""Beginnings of the variables of the environment that change what a run does."""
PATIENCE = 60.0
"""Seconds that jax may take to find its devices."""
LOOKING = 2.0
"""Seconds that are spent on adding up a folder's files."""
LITTLE = 1 << 30
"""Bytes of memory or disk below which a run is likely to fail."""

State = Literal["ok", "note", "broken"]


class Check(NamedTuple):
    """One line: what was looked at, how it is, and for what is broken what to do."""

    name: str
    state: State
    says: str


def examine() -> Iterator[Check]:
    """All checks, one after another, as they are made."""
    yield from _versions()
    yield from _memory()
    yield from _folders()
    yield from _variables()
    yield from _jax()


def _versions() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    needed = _needed()
    for name in LIBRARIES:
        try:
            have = version(name)
        except PackageNotFoundError:
            yield Check(name, "broken", f"is not installed; pip install '{needed.get(name, name)}'")
            continue
        fits = name not in needed or needed[name].specifier.contains(have, prereleases=True)
        remedy = "" if fits else f", but {needed[name]} is needed; pip install '{needed[name]}'"
        yield Check(name, "ok" if fits else "broken", have + remedy)
    for name in PLUGINS:
        with contextlib.suppress(PackageNotFoundError):
            yield Check(name, "ok", version(name))


def _needed() -> dict[str, Any]:
    """What the installed package asks for, by name; nothing where it runs from a clone without being installed."""
    if importlib.util.find_spec("packaging") is None:
        return {}
    from packaging.requirements import Requirement

    try:
        all_of_them = [Requirement(line) for line in requires("jaxgpt") or ()]
    except PackageNotFoundError:
        return {}
    return {each.name: each for each in all_of_them if each.marker is None}


def _memory() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cores", "ok", f"{cores}, {platform.machine()}, {platform.platform()}")
    facts = _numbers(Path("/proc/meminfo"))
    if "MemAvailable" in facts:
        free, limit = facts["MemAvailable"] * 1024, facts["MemTotal"] * 1024
        group = Path("/sys/fs/cgroup")
        with contextlib.suppress(OSError, ValueError):  # a container's limit; "max" where there is none
            limit = min(limit, int((group / "memory.max").read_text(encoding="utf-8")))
            free = min(free, limit - int((group / "memory.current").read_text(encoding="utf-8")))
        says = f"{byte_size(free)} free of {byte_size(limit)}"
        yield Check("memory", "note" if free < LITTLE else "ok", says)


def _folders() -> Iterator[Check]:
    try:
        cache = cache_dir()
        yield _writable("cache", cache, "set JAXGPT_CACHE to a folder that you may write to")
        for part in sorted(path for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else ():
            yield Check(f"cache/{part.name}", "ok", _used(part))
    except (JaxgptError, OSError) as error:
        yield Check("cache", "broken", f"{error}; set JAXGPT_CACHE to a folder that you may write to")
    yield _writable("current folder", Path.cwd(), "go to a folder that you may write to, or give --out")
    yield _writable("temporary folder", Path(tempfile.gettempdir()), "set TMPDIR to a folder that you may write to")
    data = os.environ.get("JAXGPT_DATA")
    if not data:
        yield Check("JAXGPT_DATA", "note", "is not set: a corpus by name is looked up in the current folder")
        return
    try:
        folder = resolve(data, "JAXGPT_DATA")
        readable = folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
        says = f"{folder}" if readable else f"{folder}: is no folder that can be read; correct it, or unset it"
        yield Check("JAXGPT_DATA", "ok" if readable else "broken", says)
    except JaxgptError as error:
        yield Check("JAXGPT_DATA", "broken", str(error))


def _writable(name: str, folder: Path, remedy: str) -> Check:
    """Whether files can be made there, or in the nearest folder above that exists, and how much room is left."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Check(name, "broken", f"{folder}: cannot be written: {error.strerror}; {remedy}")
    if free < LITTLE // 16:
        return Check(
            name, "broken", f"{folder}: {byte_size(free)} free: too little for a checkpoint; free space, or {remedy}"
        )
    return Check(name, "note" if free < LITTLE else "ok", f"{folder}: {byte_size(free)} free")


def _used(folder: Path) -> str:
    """Size and number of the files below it, as far as they are added up in a moment."""
    until, total, count = time.monotonic() + LOOKING, 0, 0
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total, count = total + os.lstat(os.path.join(directory, name)).st_size, count + 1
        if time.monotonic() > until:
            return f"more than {byte_size(total)} in more than {count:,} files"
    return f"{byte_size(total)} in {count:,} files"


def _variables() -> Iterator[Check]:
    for name in sorted(os.environ):
        if name.startswith(VARIABLES) and name != "JAXGPT_DATA":
            yield Check(name, "ok", os.environ[name] or "is set, to nothing")


def _jax() -> Iterator[Check]:
    """Devices and kernels, as a child process finds them."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "jaxgpt.doctor"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
        facts = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        says = f"jax found no devices within {PATIENCE:.0f} s: a driver or another host does not answer"
        yield Check("devices", "broken", f"{says}; JAX_PLATFORMS=cpu computes without them")
        return
    except (IndexError, ValueError):
        said = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "without a word")
        yield Check(
            "devices",
            "broken",
            f"jax ends the process: {said}; `{Path(sys.executable).name} -m jaxgpt.doctor` shows all of it",
        )
        return
    if "error" in facts:
        yield Check("devices", "broken", facts["error"])
        return
    yield Check("devices", "ok", facts["devices"])
    for kind, why in facts["kernels"].items():
        yield Check(f"kernel {kind}", "note" if why.startswith("cannot") else "ok", why)


def probe() -> dict[str, Any]:
    """`devices`, and for each attention kernel whether it runs on them or why not; or `error`."""
    import jax

    from jaxgpt.ops.attention import Case, Chooser
    from jaxgpt.ops.patterns import Causal
    from jaxgpt.parallel.backend import start
    from jaxgpt.spec import members

    try:
        start()
    except JaxgptError as error:
        return {"error": str(error)}
    devices, where = jax.devices(), jax.default_backend()
    memory = (devices[0].memory_stats() or {}).get("bytes_limit")
    says = f"{len(devices)} x {devices[0].device_kind} ({where})" + (f", {byte_size(memory)} each" if memory else "")
    dtype = "float32" if where == "cpu" else "bfloat16"
    case = Case(Causal(), 1024, 1024, 64, dtype, where, "row")
    kernels = {}
    for kind, member in members("kernel").items():
        kernel: Any = member()
        chosen = f", as {kernel.choose(case).kind}" if isinstance(kernel, Chooser) else ""
        kernels[kind] = kernel.refusal(case) or f"runs{chosen} (1,024 tokens, heads of 64, {dtype})"
    return {"devices": says, "kernels": kernels}


def report(as_json: bool) -> bool:
    """Prints every check, as lines or as one JSON object. Returns whether nothing is broken."""
    checks = []
    for check in examine():
        checks.append(check)
        if not as_json:
            print(f"{check.state:7} {check.name:20} {printable(check.says)}", flush=True)
    if as_json:
        print(json.dumps({"checks": [check._asdict() for check in checks]}))
    return all(check.state != "broken" for check in checks)


def _numbers(path: Path) -> dict[str, int]:
    """The figures of /proc/meminfo, in kB; none on other systems."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
        return {name: int(rest.split()[0]) for name, _, rest in lines}
    return {}


if __name__ == "__main__":
    print(json.dumps(probe()))
