"""`jaxgpt list` knows every seam: whatever is declared anywhere in the package has its home in `jaxgpt.seams`."""

import subprocess
import sys

EVERYWHERE = """
import pkgutil, importlib
import jaxgpt, jaxgpt.seams as known
first = {name: set(known.members(name)) for name in known.seams()}
for module in pkgutil.walk_packages(jaxgpt.__path__, "jaxgpt."):
    if module.name not in ("jaxgpt.__main__", "jaxgpt.evals.mteb", "jaxgpt.evals.harness"):  # one runs, two need extras
        importlib.import_module(module.name)
later = {name: set(known.members(name)) for name in known.seams()}
assert first == later, {name: found - first.get(name, set()) for name, found in later.items()}
assert {"activation", "kernel", "engine", "optim", "run", "tokenizer"} <= set(first), sorted(first)
"""


def test_one_module_declares_all_seams_with_all_their_members():
    done = subprocess.run([sys.executable, "-c", EVERYWHERE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
