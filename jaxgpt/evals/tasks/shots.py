"""Demonstrations in front of a question: which ones, and as many as fit.

GPT-3 draws them anew for each item from the training split (Brown et al. 2020, section 2.4).
"""

import hashlib
from collections.abc import Sequence

from jaxgpt.text import Codec


def draw(count: int, pool: Sequence[str], item: str, seed: int) -> list[int]:
    """Places in the pool of `count` demonstrations for an item, without repetition and never of the item's own text;
    fewer where the pool has no more. A function of the pool, the seed and the item alone: neither the other items nor
    their order change it.

    Places are drawn by SHA-256, so that they are the same in every version of Python and numpy.
    """
    wanted, drawn, turn = min(count, len(pool) - list(pool).count(item)), dict[int, None](), 0
    stem = hashlib.sha256(f"{seed}\0{item}".encode("utf-8", "surrogatepass"))
    while len(drawn) < wanted:
        sha = stem.copy()
        sha.update(turn.to_bytes(8, "big"))
        place = int.from_bytes(sha.digest()[:8], "big") % len(pool)
        turn += 1
        if pool[place] != item:
            drawn[place] = None
    return list(drawn)


def joined(demonstrations: Sequence[str], between: str, prompt: str) -> str:
    """Demonstrations, one after another, and the prompt behind them."""
    return between.join([*demonstrations, prompt])


def fitting(codec: Codec, demonstrations: Sequence[str], between: str, prompt: str, room: int) -> int:
    """How many of the demonstrations, the last ones, fit in front of the prompt into so many tokens."""
    count = len(demonstrations)
    while count:
        used = len(codec.encode(joined(demonstrations[len(demonstrations) - count :], between, prompt)))
        if used <= room:
            break
        lengths = [len(ids) for ids in codec.encode_batch([text + between for text in demonstrations])]
        over = used - room
        while count and over > 0:
            over -= max(1, lengths[len(demonstrations) - count])
            count -= 1
    return count
