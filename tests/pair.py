"""Two operating-system processes on this machine as two hosts of one run."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 120
"""Seconds after which a process that shows no progress counts as hung."""


def environment(devices):
    """One process with so many simulated devices, compiling as the tests do."""
    return os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", f"device_count={devices}")}


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Pair:
    """Starts `words` twice, with a coordinator's address and an index behind them; ends both with the `with` block."""

    def __init__(self, words, folder, devices=1, apart=((), ())):
        """`apart`: further words of each."""
        self.files = [folder / f"process_{index}.err" for index in range(2)]
        address = free_address()
        self.processes = []
        for index, file in enumerate(self.files):
            own = [*words, *apart[index], "--coordinator", address, "--processes", "2", "--process", str(index)]
            with file.open("wb") as err:
                self.processes.append(
                    subprocess.Popen(own, stdout=subprocess.PIPE, stderr=err, env=environment(devices))
                )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()

    def said(self, index):
        return self.files[index].read_text()

    def signal(self, index, number):
        self.processes[index].send_signal(number)

    def wait(self, indices=(0, 1), seconds=PATIENCE):
        """Exit statuses of these processes."""
        deadline = time.monotonic() + seconds
        return [self.processes[index].wait(max(0.1, deadline - time.monotonic())) for index in indices]

    def until(self, there):
        """Waits until `there()`; both must live so long."""
        deadline = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < deadline, f"no progress in {PATIENCE} s"
            assert [process.poll() for process in self.processes] == [None, None], self.said(0) + self.said(1)
            time.sleep(0.01)


def train_words(config, out, *more):
    return [Path(sys.executable).with_name("jaxgpt"), "train", config, *more, "--out", out]


STOP, TERM, KILL = signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL
