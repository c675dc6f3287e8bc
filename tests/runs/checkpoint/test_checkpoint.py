"""A checkpoint comes back bitwise, or not at all and loudly."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import array_store, assert_bitwise, make_tree, steps
from jax.sharding import NamedSharding, PartitionSpec

from jaxgpt.runs.checkpoint import arrays, checkpoint, manifest
from jaxgpt.runs.checkpoint.checkpoint import restore, save
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.terminal import console

READS = [(checkpoint, "verify"), (checkpoint, "restore_arrays"), (manifest, "_read"), (manifest, "_hash")]


def test_round_trip_is_bitwise_with_stable_names(ckpt):
    step, tree, meta = restore(ckpt, make_tree(0))
    assert (step, meta) == (200, {"step": 200, "val/loss": 1.5})
    assert_bitwise(tree, make_tree(200))
    names = json.loads((ckpt / "step_00000200" / "manifest.json").read_text())["leaves"]
    assert {"params/block_0/attn/kernel", "opt/1/hyperparams/learning_rate", "opt/1/inner_state/0/mu/embed"} < set(
        names
    )
    keys = array_store(ckpt / "step_00000200").list().result()
    assert b"params/block_0/attn/kernel/zarr.json" in keys


def test_every_bit_pattern_and_dtype_survives(tmp_path):
    every16 = np.arange(2**16, dtype=np.uint16)  # NaN payloads, infinities, subnormals, both zeros
    tree = {
        "bf16": jax.lax.bitcast_convert_type(jnp.asarray(every16), jnp.bfloat16),
        "f32": jnp.asarray(np.stack([every16, every16[::-1]], -1).view(np.float32)),
        "f8": jnp.asarray(np.arange(8).astype(jnp.float8_e4m3fn)),
        "bool": jnp.array([True, False]),
        "u32": jnp.uint32(2**32 - 1),
        "none": jnp.zeros((0, 3)),
        "host": np.array([np.pi, 1e300]),
        "scalar": np.float64(np.e),
    }
    save(tmp_path, 1, tree, {})
    _, found, _ = restore(tmp_path, tree)
    assert_bitwise(found, tree | {"scalar": np.array(np.e)})


def test_restores_to_the_sharding_asked_for(ckpt):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(lambda: make_tree(0))
    )
    _, tree, _ = restore(ckpt, like)
    assert all(leaf.sharding == sharding for leaf in jax.tree.leaves(tree))
    assert_bitwise(tree, make_tree(200))


def test_saving_replicas_compiles_nothing(tmp_path):
    """Of eight devices Orbax would slice every array in eight, by a program each."""
    mesh = jax.make_mesh((8,), ("data",))
    tree = {"w": jax.device_put(np.arange(16.0, dtype=np.float32), NamedSharding(mesh, PartitionSpec()))}
    compiled = []
    note = lambda name, seconds, **facts: compiled.append(name) if name.endswith("backend_compile_duration") else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        jax.jit(lambda x: x * 3.25)(np.float32(1))
        assert compiled, "the listener hears compilations"
        compiled.clear()
        save(tmp_path, 1, tree, {})
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    np.testing.assert_array_equal(restore(tmp_path, tree)[1]["w"], np.arange(16.0))


def test_a_part_and_an_abstract_tree_are_enough(ckpt):
    like = jax.eval_shape(lambda: make_tree(0)["params"])
    _, params, _ = restore(ckpt, like, part="params")
    assert_bitwise(params, make_tree(200)["params"])


@pytest.mark.parametrize("name", ["a b", "50%20", "lr=1e-3#2", "[red]?x", "Привет"])
def test_any_folder_name_will_do(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    tree = {"w": jnp.arange(3)}
    save(Path(name), 1, tree, {})
    assert_bitwise(restore(Path(name), tree)[1], tree)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_no_checkpoint_is_none(tmp_path):
    assert restore(tmp_path / "absent", make_tree(0)) is None
    (tmp_path / ".draft_step_00000005" / "arrays").mkdir(parents=True)
    assert restore(tmp_path, make_tree(0)) is None


# --- which one -----------------------------------------------------------------------------------------------------


def test_newest_goes_by_step_not_by_time(ckpt):
    os.utime(ckpt / "step_00000100", (4e9, 4e9))
    os.utime(ckpt / "step_00000200", (0, 0))
    for path in (ckpt / "step_00000100").rglob("*"):
        os.utime(path, (4e9, 4e9))
    assert restore(ckpt, make_tree(0))[0] == 200
    assert restore(ckpt, make_tree(0), step=100)[0] == 100
    with pytest.raises(JaxgptError, match="no checkpoint of step 7; there are 200, 100"):
        restore(ckpt, make_tree(0), step=7)


def test_keeps_the_newest_and_the_best(tmp_path):
    tree = {"w": jnp.ones(3)}
    for step in range(1, 6):
        save(tmp_path, step, tree, {"val/loss": step}, keep=2, best=step == 2)
    assert steps(tmp_path) == [2, 4, 5]
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 2, "meta": {"val/loss": 2}}
    assert restore(tmp_path, tree, best=True)[0] == 2
    assert restore(tmp_path, tree)[0] == 5


def test_best_falls_back_to_the_newest(ckpt):
    assert restore(ckpt, make_tree(0), best=True)[0] == 200
    for text in ('{"step": 300}', "{", '{"step": "../step_00000100"}'):
        (ckpt / "best.json").write_text(text)
        with console.capture() as said:
            assert restore(ckpt, make_tree(0), best=True)[0] == 200
        assert "best.json" in said.get()


def test_saving_after_turning_back_drops_the_other_future(tmp_path):
    tree = {"w": jnp.ones(3)}
    for step in (1, 2, 3):
        save(tmp_path, step, tree, {}, keep=3, best=step == 3)
    assert restore(tmp_path, tree, step=1)[0] == 1
    save(tmp_path, 2, {"w": jnp.full(3, 7.0, jnp.float32)}, {}, keep=1)
    assert steps(tmp_path) == [2] and not (tmp_path / "best.json").exists()
    assert restore(tmp_path, tree)[1]["w"][0] == 7


# --- damage --------------------------------------------------------------------------------------------------------


def largest(folder):
    return max(
        (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"),
        key=lambda p: p.stat().st_size,
    )


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def flip_in_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"val/loss": 1.5', '"val/loss": 1.4'))


def to_symlink(folder):
    folder.rename(folder.parent.parent / "elsewhere")
    folder.symlink_to(folder.parent.parent / "elsewhere")


def inner_symlink(folder):
    path = largest(folder)
    path.rename(folder.parent.parent / "data")
    path.symlink_to(folder.parent.parent / "data")


def empty_folder(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def another_step(folder):
    shutil.rmtree(folder)
    shutil.copytree(folder.parent / "step_00000100", folder)


def to_file(folder):
    shutil.rmtree(folder)
    folder.write_bytes(b"x")


DAMAGE = {
    "first byte flipped": lambda folder: flip(largest(folder), 0),
    "middle byte flipped": lambda folder: flip(largest(folder), largest(folder).stat().st_size // 2),
    "last byte flipped": lambda folder: flip(largest(folder), -1),
    "metadata flipped": lambda folder: flip(folder / "arrays" / "_METADATA", 100),
    "truncated": lambda folder: os.truncate(largest(folder), 100),
    "emptied": lambda folder: os.truncate(largest(folder), 0),
    "data file deleted": lambda folder: largest(folder).unlink(),
    "all data deleted": lambda folder: shutil.rmtree(folder / "arrays"),
    "manifest deleted": lambda folder: (folder / "manifest.json").unlink(),
    "manifest emptied": lambda folder: os.truncate(folder / "manifest.json", 0),
    "manifest torn": lambda folder: os.truncate(folder / "manifest.json", 300),
    "manifest edited": flip_in_manifest,
    "empty folder": empty_folder,
    "another step's data": another_step,
    "extra file": lambda folder: (folder / "arrays" / "extra.pkl").write_bytes(b"x"),
    "symbolic link to the folder": to_symlink,
    "symbolic link inside": inner_symlink,
    "a file in its place": to_file,
    "a pipe inside": lambda folder: os.mkfifo(folder / "arrays" / "pipe"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_told_and_the_older_one_taken(ckpt, damage):
    damage(ckpt / "step_00000200")
    with console.capture() as said:
        step, tree, meta = restore(ckpt, make_tree(0))
    first, second = said.get().splitlines()
    assert first.startswith("damaged checkpoint, not used: ") and "step_00000200" in first
    assert second == "step 100 restored instead of 200"
    assert (step, meta["step"]) == (100, 100)
    assert_bitwise(tree, make_tree(100))
    with console.capture(), pytest.raises(JaxgptError, match="damaged: step 200"):
        restore(ckpt, make_tree(0), step=200)


@pytest.mark.parametrize("damage", ["a file in its place", "manifest deleted", "symbolic link to the folder"])
def test_the_next_save_clears_damage_away(ckpt, damage):
    DAMAGE[damage](ckpt / "step_00000200")
    for step in (150, 200):
        save(ckpt, step, make_tree(step), {"step": step}, keep=1)
        with console.capture() as said:
            assert restore(ckpt, make_tree(0))[0] == step
        assert not said.get() and [path.name for path in ckpt.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("error", [TypeError("no"), RuntimeError("no"), AssertionError(), KeyError("x"), IndexError()])
def test_whatever_orbax_refuses_is_damage(ckpt, monkeypatch, error):
    """With a manifest that vouches for it, nothing else can tell."""
    handler = arrays._handler()

    class Refuses:
        def restore(self, directory, args):
            if "00000200" in str(directory):
                raise error
            return handler.restore(directory, args=args)

    monkeypatch.setattr(arrays, "_handler", Refuses)
    with console.capture() as said:
        assert restore(ckpt, make_tree(0))[0] == 100
    assert "damaged checkpoint, not used" in said.get()


def test_what_cannot_be_read_is_not_called_damaged(ckpt, monkeypatch):
    """A permission or a network that fails proves nothing, and to go on from the older one would drop the newer."""
    scandir = os.scandir

    def deny(path):
        if "00000200" in str(path):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    with console.capture() as said, pytest.raises(JaxgptError, match="Permission denied; make it readable") as caught:
        restore(ckpt, make_tree(0))
    assert not said.get() and "damaged" not in str(caught.value) and "move" not in str(caught.value)


def test_a_checkpoint_dropped_while_it_is_read_is_not_damage(ckpt, monkeypatch):
    """As of a run that trains there: at any call of the reader the newest may be replaced by a newer one."""
    calls = {name: getattr(module, name) for module, name in READS}
    for module, name in READS:
        live, once = shutil.copytree(ckpt, ckpt.parent / f"live_{name}"), ["hashes are read by several threads"]

        def train_on(*args, live=live, name=name, once=once):
            with contextlib.suppress(IndexError):
                once.pop()
                shutil.rmtree(live / "step_00000200")
                save(live, 300, make_tree(300), {}, keep=1)
            return calls[name](*args)

        with monkeypatch.context() as patch, console.capture() as said:
            patch.setattr(module, name, train_on)
            assert restore(live, make_tree(0))[0] == 300
        assert not said.get()


def test_all_damaged_is_an_error_and_nothing_is_touched(ckpt):
    flip(largest(ckpt / "step_00000100"), 5)
    (ckpt / "step_00000200" / "manifest.json").unlink()
    before = sorted(ckpt.rglob("*"))
    with console.capture(), pytest.raises(JaxgptError, match=r"no sound checkpoint \(damaged: step 200, 100\)"):
        restore(ckpt, make_tree(0))
    assert sorted(ckpt.rglob("*")) == before


@pytest.mark.often("True")
@pytest.mark.parametrize("live", [True, False])
def test_nobody_is_told_to_move_a_run_that_trains(ckpt, live):
    for folder in ckpt.glob("step_*"):
        (folder / "manifest.json").unlink()
    script = (
        f"import sys\nfrom jaxgpt.runs.files.lock import RunLock\nwith RunLock({str(ckpt.parent)!r}): print(); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        if not live:
            holder.communicate(b"\n")
        with console.capture(), pytest.raises(JaxgptError, match="no sound checkpoint") as caught:
            restore(ckpt, make_tree(0))
        assert (f"process {holder.pid}" in str(caught.value)) == live == ("move the folder" not in str(caught.value))
        if live:
            holder.communicate(b"\n")
    with RunLock(ckpt.parent), console.capture(), pytest.raises(JaxgptError, match="move the folder away"):
        restore(ckpt, make_tree(0))


def test_a_damaged_newer_one_gives_way_to_the_next_save(ckpt):
    flip(largest(ckpt / "step_00000200"), 5)
    with console.capture():
        assert restore(ckpt, make_tree(0))[0] == 100
    save(ckpt, 150, make_tree(150), {}, keep=1)
    assert steps(ckpt) == [150]
    save(ckpt, 200, make_tree(200), {})
    assert_bitwise(restore(ckpt, make_tree(0))[1], make_tree(200))


# --- trees that do not fit -----------------------------------------------------------------------------------------


def test_every_mismatch_is_listed_at_once(ckpt):
    like = make_tree(0)
    del like["ema"]["embed"]
    like["ema"] |= {"extra": jnp.ones(2)}
    like["ema"]["block_0"] = {"attn": {"kernel": jnp.ones((48, 65))}, "norm": {"scale": jnp.ones(48, jnp.bfloat16)}}
    with pytest.raises(ConfigError) as caught:
        restore(ckpt, like)
    head, *rest = caught.value.problems
    assert "step_00000200" in head
    assert rest == [
        "ema/extra: not in the checkpoint",
        "ema/embed: in the checkpoint, not in this model or optimiser",
        "ema/block_0/attn/kernel: float32[48, 64] in the checkpoint, float32[48, 65] expected",
        "ema/block_0/norm/scale: float32[48] in the checkpoint, bfloat16[48] expected",
    ]


@pytest.mark.parametrize(
    "tree, words",
    [
        ({"key": jax.random.key(0)}, "key_data"),
        ({"n": 3}, "not a plain array"),
        ({"o": np.array([{}], object)}, "not a plain array"),
        ({"w": jnp.asarray(1e-3)}, "weakly typed"),
        ({"..": jnp.ones(2)}, "cannot name"),
        ({"a/../../b": jnp.ones(2)}, "cannot name"),
        (jnp.ones(2), "cannot name"),
    ],
)
def test_what_would_not_come_back_is_refused(tmp_path, tree, words):
    with pytest.raises(ValueError, match=words):
        save(tmp_path / "ckpt", 1, tree, {})
    assert not (tmp_path / "ckpt").exists()
