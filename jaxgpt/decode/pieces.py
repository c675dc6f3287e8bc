"""How many tokens are written before it is asked whether all rows have ended.

A GPU is told by the host what to do, and a loop that ends by what the GPU computed makes the host wait for each step
before it launches the next. A loop whose count is known while compiling is launched ahead, each step as one CUDA graph
(XLA records what a body holds, as long as no other loop is in it). So tokens are written there in pieces of a known
count, and whether all rows have ended is asked in between: at most a piece of steps is done in vain, and nothing is
compiled for another number of tokens. A `cond` in each step would be asked as often as the loop is. On a CPU or a TPU
asking costs nothing, and a piece is one token.

Recording the loop itself (`xla_gpu_enable_command_buffer` with WHILE) would spare the question too. It is not XLA's
default, was broken for some releases (openxla/xla 35760), and where less than five other operations stand beside the
loop nothing at all is recorded, the steps neither, unless `xla_gpu_graph_min_graph_size` is 1.
"""

PIECE = {"cpu": 1, "gpu": 8, "tpu": 1}
"""Tokens of a piece, by platform."""


def whole_pieces(count: int, piece: int) -> int:
    """The length of pieces of about `piece` tokens, all equal, that write `count` and as few more as can be."""
    if piece == 1 or count <= piece:
        return max(1, min(count, piece))
    return min(range(2 * piece, piece // 2 - 1, -1), key=lambda size: -count % size)
