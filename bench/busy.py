"""Who else uses the processor. Threads that wait for one another lose the most there: ratios of libraries lie."""

import os
import time
from pathlib import Path

LIMIT = 0.5
"""Cores that other programs may keep busy. An idle machine's services take a twentieth of one."""
STAT = Path("/proc/stat")
WINDOW = 1.0
"""Seconds over which a machine is watched before anything is measured."""


class Others:
    """Counts from now on what other programs take."""

    def __init__(self) -> None:
        self._start = _now()

    def cores(self) -> float:
        """Cores kept busy on average by all but this process and those it started and has waited for.

        Where the system does not count (no /proc/stat) it is the load of the last minute, and ours is part of it.
        """
        if not STAT.exists():
            return os.getloadavg()[0]
        took, all_of_it, own = (b - a for a, b in zip(self._start, _now(), strict=True))
        return max(0.0, all_of_it - own) / max(took, 1e-3)


def _now() -> tuple[float, float, float]:
    """Seconds on the clock, and of processor time spent by all programs and by ours."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    if not STAT.exists():
        return times.elapsed, 0.0, own
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, STAT.read_text(encoding="utf-8").splitlines()[0].split()[1:]
    )
    return times.elapsed, (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), own


def watched() -> float:
    """`Others.cores()` of the next second."""
    others = Others()
    time.sleep(WINDOW)
    return others.cores()
