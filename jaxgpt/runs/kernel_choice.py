"""Which kernel computes each of a run's attention patterns: settled, or refused, before anything is compiled."""

import jax

from jaxgpt.ops.attention import Chooser, Numbering
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError


def kernels(run: ObjectiveRun, platform: str | None = None, token_parts: int = 1) -> dict[str, str]:
    """The kernel's kind by pattern (`pattern.0`), on `platform` (`cpu`, `gpu`, `tpu`; None: the default backend), where
    `token_parts` devices share a row's tokens.

    Raises ConfigError with one line for every pattern that `exec.kernel` refuses.
    """
    separate = run.data.documents == "separate"
    numbering: Numbering = "documents" if separate else "row"
    segments = separate or bool(run.data.texts)
    platform = platform or jax.default_backend()
    cases = run.model.cases(run.seq_len, run.dtype, platform, numbering, segments, token_parts)
    kernel, kinds, problems = run.exec.kernel, {}, []
    for name, case in cases.items():
        why = kernel.refusal(case)
        if why is not None:
            problems.append(f"exec.kernel: {kernel.kind} {why} (model.{name})")
        kinds[name] = (kernel.choose(case) if isinstance(kernel, Chooser) else kernel).kind
    if problems:
        raise ConfigError(problems)
    return kinds
