"""Where every seam and every member of the package is declared: who imports this module has them all."""

import jaxgpt.evals.tasks
import jaxgpt.lab
import jaxgpt.runs  # noqa: F401
from jaxgpt.spec import members, seams

__all__ = ["members", "seams"]
