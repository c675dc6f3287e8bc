"""A GPT as nanoGPT computes it (github.com/karpathy/nanoGPT), restated in plain torch to be measured against.

Pre-norm, fused queries, keys and values, `scaled_dot_product_attention`, tied output. As nanoGPT trains: no biases,
exact GELU; as GPT-2 has it: biases, and GELU by its tanh formula.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, d_model: int, num_heads: int, bias: bool, gelu: str):
        super().__init__()
        self.num_heads, self.gelu = num_heads, gelu
        self.norm_1 = nn.LayerNorm(d_model, bias=bias)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)
        self.norm_2 = nn.LayerNorm(d_model, bias=bias)
        self.up = nn.Linear(d_model, 4 * d_model, bias=bias)
        self.down = nn.Linear(4 * d_model, d_model, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        heads = (batch, length, self.num_heads, width // self.num_heads)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.qkv(self.norm_1(x)).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate=self.gelu))


class NanoGPT(nn.Module):
    """`gelu`: `none` (exact) or `tanh`."""

    def __init__(
        self,
        vocab_size: int,
        context: int,
        num_layers: int,
        d_model: int,
        num_heads: int,
        bias: bool = False,
        gelu: str = "none",
    ):
        super().__init__()
        self.token = nn.Embedding(vocab_size, d_model)
        self.position = nn.Embedding(context, d_model)
        self.blocks = nn.ModuleList(Block(d_model, num_heads, bias, gelu) for _ in range(num_layers))
        self.norm_f = nn.LayerNorm(d_model, bias=bias)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """int64 (B, T) twice -> the mean cross-entropy."""
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm_f(x), self.token.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
