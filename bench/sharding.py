"""What the rule tables cost: a step on `fsdp: 8` against hand-written data parallelism in `shard_map`, same model.

Eight simulated devices of one CPU. Both take turns, medians of blocks of steps, compiling apart. On a CPU all devices
share the cores and memory, so this measures work that sharding adds, not communication.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

from functools import partial
from typing import Any

from harness import arguments, cpu, interleaved, seconds, write

FIELDS = {
    "model": {"kind": "gpt2", "num_layers": 4, "d_model": 256, "num_heads": 8, "context": 128, "vocab_size": 1024},
    "tokenizer": "byte",
    "batch_size": 32,
    "steps": 1000,
    "optim": {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.1},
}
GOAL = 1.15


def main() -> None:
    options = arguments("fsdp over eight simulated devices against hand-written data parallelism")
    import jax
    import numpy as np
    import optax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    from jaxgpt.runs import ObjectiveRun
    from jaxgpt.train.program import build_model, hyper, program

    ids = np.random.default_rng(0).integers(0, 1024, (32, 129), dtype=np.int32)
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
    key = jax.random.key(0)

    def ours(mesh: dict[str, int]) -> Any:
        run = ObjectiveRun.model_validate(FIELDS | {"exec": {"mesh": mesh}})
        compiled, values = program(run), hyper(run)
        rows = jax.device_put(batch, compiled.batch_shardings(batch))
        held = [compiled.init(key, values)]

        def step() -> None:
            held[0], metrics = compiled.step(held[0], rows, key, values)
            jax.block_until_ready(metrics)

        return step

    def by_hand() -> Any:
        run = ObjectiveRun.model_validate(FIELDS)
        model = build_model(run)
        mesh = Mesh(np.array(jax.devices()), ("data",))
        decays = partial(jax.tree_util.tree_map_with_path, lambda path, _: path[-1].key not in ("bias", "scale"))
        tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, 0.9, 0.95, weight_decay=0.1, mask=decays))

        def one(params: Any, state: Any, part: Any) -> Any:
            loss, grads = jax.value_and_grad(lambda p: run.objective.loss(model, p, part, None)[0])(params)
            loss, grads = jax.lax.pmean((loss, grads), "data")
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state, loss

        whole, rows = PartitionSpec(), PartitionSpec("data")
        step = jax.jit(
            jax.shard_map(
                one, mesh=mesh, in_specs=(whole, whole, rows), out_specs=(whole, whole, whole), check_vma=False
            ),
            donate_argnums=(0, 1),
        )
        placed = jax.device_put(batch, NamedSharding(mesh, rows))
        params = jax.device_put(run.model.init(key), NamedSharding(mesh, whole))
        held = [params, jax.device_put(tx.init(params), NamedSharding(mesh, whole))]

        def call() -> None:
            held[0], held[1], loss = step(*held, placed)
            jax.block_until_ready(loss)

        return call

    sides = {"fsdp": ours({"fsdp": 8}), "data": ours({"data": 8}), "by_hand": by_hand()}
    first = {name: seconds(step) for name, step in sides.items()}
    times = interleaved(sides, rounds=30 if options.quick else 150, warmup=3)
    by_name = {name: held.median for name, held in times.items()}
    figures = {
        "fsdp_over_by_hand": by_name["fsdp"] / by_name["by_hand"],
        "data_over_by_hand": by_name["data"] / by_name["by_hand"],
        **{f"{name}_first_step_seconds": took for name, took in first.items()},
        "parameters": float(
            sum(leaf.size for leaf in jax.tree.leaves(ObjectiveRun.model_validate(FIELDS).model.shapes()))
        ),
    }
    print(f"goal: fsdp_over_by_hand <= {GOAL}")
    write(options, figures, cpu())


if __name__ == "__main__":
    main()
