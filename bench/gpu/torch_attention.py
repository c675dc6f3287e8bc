"""PyTorch's FlexAttention on our patterns: torch.compile and blocks of 128 on a GPU, eager and forward alone without.

Started with `{name: fields of the pattern}`, heads and their width. Answers `build NAME LENGTH` with the pairs that the
mask allows in a short row, `block NAME LENGTH PASS COUNT` with seconds a call; PASS is `forward` or `both`.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from peer import serve
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
SHORT = 512
Mask = Callable[[Any, Any, Any, Any], Any]


def mask_of(kind: str, fields: dict[str, Any]) -> Mask:
    """(batch, head, query, key) -> whether the query sees the key."""
    window, stride, summary, dilation = (fields.get(n, 1) for n in ("window", "stride", "summary", "dilation"))
    near = {
        "causal": lambda q, k: q >= k,
        "banded": lambda q, k: (q >= k) & (q - k < window),
        "strided": lambda q, k: (q >= k) & ((q - k <= stride) | ((q - k) % stride == 0)),
        "fixed": lambda q, k: (q >= k) & ((q // stride == k // stride) | (k % stride >= stride - summary)),
        "dilated": lambda q, k: (q >= k) & (q - k < window * dilation) & ((q - k) % dilation == 0),
    }[kind]
    return lambda batch, head, q, k: near(q, k)


def main() -> None:
    patterns, heads, width = map(json.loads, sys.argv[1:])
    masks = {name: mask_of(fields["kind"], fields) for name, fields in patterns.items()}
    calls: dict[tuple[str, int, str], Callable[[], Any]] = {}

    def build(name: str, length: int) -> int:
        torch._dynamo.reset()  # else the eighth mask would be one too many, and computed without a kernel
        torch.manual_seed(0)
        q, k, v, do = (torch.randn(1, heads, length, width, dtype=torch.bfloat16, device=DEVICE) for _ in range(4))
        block_mask = create_block_mask(masks[name], None, None, length, length, device=DEVICE)
        attend = torch.compile(flex_attention, dynamic=False, fullgraph=True) if CUDA else flex_attention
        with_grad = [x.clone().requires_grad_() for x in (q, k, v)]

        def forward() -> Any:
            with torch.no_grad():
                return attend(q, k, v, block_mask=block_mask)

        def both() -> Any:
            return torch.autograd.grad(attend(*with_grad, block_mask=block_mask), with_grad, do)

        calls[name, length, "forward"], calls[name, length, "both"] = forward, both
        forward()
        if CUDA:
            both()
        at = torch.arange(SHORT)
        return int(masks[name](None, None, at[:, None], at[None, :]).sum())

    def block(name: str, length: int, which: str, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            calls[name, length, which]()
        if CUDA:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    serve(lambda word, *given: {"build": build, "block": block}[word](*given))


if __name__ == "__main__":
    main()
