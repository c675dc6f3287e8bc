"""How alike two texts are, whichever comes first. B rows, N = 2 sequences a row, D model width."""

import jax

from jaxgpt.objectives.scored import Scored
from jaxgpt.objectives.task import Judge


class Similarity(Scored):
    """The squared error of a pair's score, from the sum of the pooled states of both orders."""

    citation = "Radford et al. 2018, section 3.3"
    arrangement = "both_orders"

    def answer(self, judge: Judge, pooled_BND: jax.Array, real_BN: jax.Array) -> jax.Array:
        """The number (B, 1) of both sequences together."""
        return judge(pooled_BND.sum(1))
