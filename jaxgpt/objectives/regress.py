"""A score of a text, or of a pair of texts. B rows, N sequences a row, D model width."""

import jax

from jaxgpt.objectives.scored import Scored
from jaxgpt.objectives.task import Judge


class Regress(Scored):
    """The squared error of a text's score: of one text, or of two joined in one row."""

    citation = "Devlin et al. 2019, section 4.1 (STS-B)"
    arrangement = "joined"

    def answer(self, judge: Judge, pooled_BND: jax.Array, real_BN: jax.Array) -> jax.Array:
        """The number (B, 1) of the row's one sequence."""
        return judge(pooled_BND[:, 0])
