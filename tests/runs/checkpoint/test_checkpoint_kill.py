"""kill -9 in the middle of a save: what was complete stays, and the next save tidies up."""

import random
import subprocess
import sys

import jax.numpy as jnp

from jaxgpt.runs.checkpoint.checkpoint import restore, save
from jaxgpt.terminal import console

CHILDREN = """
import os, signal, sys, threading
from pathlib import Path
import jax.numpy as jnp
import orbax.checkpoint
from jaxgpt import disk
from jaxgpt.runs.checkpoint import checkpoint

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def tree(step):
    return {"params": {"w": jnp.full((64, 64), step, jnp.float32)}, "step": jnp.int32(step)}

def save_on(folder, moment):
    checkpoint.save(folder, 1, tree(1), {"step": 1}, keep=1)
    if moment == "arrays written": checkpoint.write_manifest = die
    if moment == "manifest drafted": disk.os.replace = die
    if moment == "manifest written": checkpoint.publish = die
    if moment == "old one set aside": Path.rename = lambda a, b: die() if a.name[0] == "." else os.rename(a, b)
    if moment == "published": checkpoint.retain = die
    if moment == "old one set aside":
        checkpoint.save(folder, 1, tree(1), {"step": 1}, keep=1)
    if moment.startswith("after"): threading.Timer(float(moment.split()[1]), die).start()
    for step in range(2, 1000):
        checkpoint.save(folder, step, tree(step), {"step": step}, keep=1)
        os.write(1, f"{moment}:{step}\\n".encode())

for moment in sys.argv[2:]:
    if os.fork() == 0:
        save_on(Path(sys.argv[1]) / moment, moment)
for moment in sys.argv[2:]:
    assert os.WTERMSIG(os.wait()[1]) == signal.SIGKILL
"""
SURVIVING = {"arrays written": 1, "manifest drafted": 1, "manifest written": 1, "old one set aside": 1, "published": 2}


def check_survivor(folder, at_least):
    """The newest restored is sound, no older than the last one reported complete, and the next save tidies up."""
    like = {"params": {"w": jnp.ones((64, 64))}, "step": jnp.int32(0)}
    with console.capture() as said:
        step, tree, meta = restore(folder, like)
    assert said.get() == ""  # a kill damages nothing
    assert step >= at_least and meta["step"] == step == tree["step"]
    assert (tree["params"]["w"] == step).all()
    save(folder, step, tree, meta, keep=1)
    assert [path.name for path in folder.iterdir()] == [f"step_{step:08d}"]
    return step


def test_kill_9_during_a_save(tmp_path):
    after = [f"after {random.Random(seed).uniform(0.02, 0.4)}" for seed in range(2)]
    command = [sys.executable, "-c", CHILDREN, str(tmp_path), *SURVIVING, *after]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and sorted(path.name for path in tmp_path.iterdir()) == sorted([*SURVIVING, *after])
    for moment, step in SURVIVING.items():
        assert check_survivor(tmp_path / moment, at_least=1) == step, moment
    for moment in after:
        complete = [int(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith(moment)]
        check_survivor(tmp_path / moment, at_least=max([1, *complete]))
