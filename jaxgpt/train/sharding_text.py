"""The sharding table as a table on the terminal."""

from typing import Any

from rich.table import Table

from jaxgpt.terminal import byte_size, standard_output


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
        candidates = leaves if root == "params" else {path: leaf}
        same = {kind: other for kind, other in candidates.items() if kind == path or kind.endswith(f"/{name}")}
        by_kind = {kind.split("/")[0]: other["axes"] for kind, other in same.items()}
        axes = "; ".join(f"{kind} {text}" for kind, text in by_kind.items())
        axes = leaf["axes"] if len({*by_kind.values()}) == 1 else axes
        whole, on_device = (sum(other[key] for other in same.values()) for key in ("bytes", "bytes_per_device"))
        shape = " x ".join(map(str, leaf["shape"]))
        table.add_row(name if root == "params" else path, shape, axes, byte_size(whole), byte_size(on_device))
    out.print(table)
    for kind, count in facts["per_device"].items():
        out.print(f"{kind:12}{byte_size(count):>10} on each device")
    if how := facts["pipeline"]:
        rounds = f", {how['repeats']} rounds" if how["repeats"] > 1 else ""
        out.print(
            f"pipeline: {how['stages']} stages, {how['microbatches']} microbatches{rounds}, bubble {how['bubble']:.1%}"
        )
    for remark in facts["remarks"]:
        out.print(f"remark: {remark}", soft_wrap=True)
