"""A worker's contract without training: `python stub_worker.py FOLDER`.

Each folder under FOLDER/units holds `steps`, a number; a step is a tenth of a second. A worker locks a unit, counts in
`done`, and ends it with a line in `finished`; asked to end, it leaves `saved`. Exit
status 0 or 75, as `jaxgpt lab work` has it.
"""

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

asked = False


def ask(*_):
    global asked
    asked = True


def work(unit: Path) -> None:
    with (unit / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        print(os.getpid(), file=lock, flush=True)
        if (unit / "finished").exists():
            return
        steps, done = int((unit / "steps").read_text()), unit / "done"
        for step in range(int(done.read_text()) if done.exists() else 0, steps):
            if asked:
                (unit / "saved").touch()
                sys.exit(75)
            if (unit / "dies").exists():
                (unit / "dies").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            if (unit / "loses").exists():
                (unit / "loses").unlink()
                sys.exit(70)
            time.sleep(0.1)
            done.write_text(str(step + 1))
        with (unit / "finished").open("a") as file:
            file.write(f"{os.getpid()}\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ask)
    units = sorted((Path(sys.argv[1]) / "units").iterdir())
    print(f"working on {len(units)} units", flush=True)
    for unit in units:
        work(unit)
