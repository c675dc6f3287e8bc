"""The sharding table for people."""

from typing import Any

from rich.table import Table

from jaxgpt.terminal import standard_output

UNITS = "B", "kB", "MB", "GB", "TB"


def print_sharding(facts: dict[str, Any]) -> None:
    """What `sharding_table` found, on standard output: a row for each parameter, with what the state keeps of it."""
    out = standard_output(160)
    mesh = " x ".join(f"{name} {ways}" for name, ways in facts["mesh"].items() if ways > 1) or "one device"
    table = Table("path", "shape", "split over", "bytes", "on each device", title=f"mesh: {mesh}", title_justify="left")
    leaves = {leaf["path"]: leaf for leaf in facts["leaves"]}
    for path, leaf in leaves.items():
        root, _, name = path.partition("/")
        if root in ("gradients", "opt_state", "ema", "step"):
            continue
        same = {one: held for one, held in leaves.items() if root == "params" and one.endswith(f"/{name}")} or {
            path: leaf
        }
        kinds = {one.split("/")[0]: held["axes"] for one, held in same.items()}
        axes = (
            leaf["axes"] if len({*kinds.values()}) == 1 else "; ".join(f"{kind} {text}" for kind, text in kinds.items())
        )
        held = sum(one["bytes_per_device"] for one in same.values())
        shape = " x ".join(map(str, leaf["shape"]))
        table.add_row(
            name if root == "params" else path, shape, axes, size(sum(x["bytes"] for x in same.values())), size(held)
        )
    out.print(table)
    for kind, count in facts["per_device"].items():
        out.print(f"{kind:12}{size(count):>10} on each device")
    if how := facts["pipeline"]:
        rounds = f", {how['repeats']} rounds" if how["repeats"] > 1 else ""
        out.print(
            f"pipeline: {how['stages']} stages, {how['microbatches']} microbatches{rounds}, bubble {how['bubble']:.1%}"
        )
    for remark in facts["remarks"]:
        out.print(f"remark: {remark}", soft_wrap=True)


def size(count: float) -> str:
    """Three digits and a unit of a thousand."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {UNITS[unit]}"
