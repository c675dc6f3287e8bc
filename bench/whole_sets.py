"""SmolLM2-135M-Instruct over whole sets, by `jaxgpt eval`: figures with their intervals, and seconds of each.

JAXGPT_SMOLLM2 names the .gguf (see bench/smollm2.py), JAXGPT_DATA the folder with `lambada/`, `copa/`, `arc_easy/` and
`wikitext2/`. `python bench/whole_sets.py NAME ...` runs those of SETS alone, without a name all of them; what the file
of `--json` holds of others stays, so that the hours can be taken in parts. Each is a process, and its seconds are
from its start to its figures, compiling included: they say what it costs to repeat them in this order, each question
being asked once (LAMBADA's words of one token are the same question by two protocols), not how fast anything is.
Seconds of the clock hold whatever else the machine did; `processor_seconds`, of all cores together, do not.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import arguments, cpu, seconds, smollm2, write

SETS = {
    "copa": ["eval/copa"],
    "arc_easy_0_shots": ["eval/arc_easy", "--shots", "0"],
    "lambada_last_token": ["eval/lambada_last_token"],
    "lambada_last_word": ["eval/lambada"],
    "wikitext2": ["eval/wikitext2"],
    "arc_easy_1_shot": ["eval/arc_easy", "--shots", "1"],
    "lambada_stop_filter": ["eval/lambada_stop_filter"],
    "arc_easy_5_shots": ["eval/arc_easy", "--shots", "5"],
}


def measured(model: Path, words: list[str]) -> dict[str, float]:
    """The figures of one evaluation, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "jaxgpt", "eval", str(model), *words, "--json", str(out)]
        before = processor_seconds()
        took = seconds(lambda: subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}))
        figures: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return figures | {"seconds": took, "processor_seconds": processor_seconds() - before}


def processor_seconds() -> float:
    """Seconds of all cores that the processes started here have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    words = {"nargs": "*", "metavar": "NAME", "help": ", ".join(SETS)}
    options = arguments("SmolLM2-135M-Instruct over whole sets", timed=False, words=words)
    model = smollm2()
    figures: dict[str, float] = {}
    if options.json is not None and options.json.exists():
        figures = json.loads(options.json.read_text(encoding="utf-8"))["figures"]
    for name in options.words or SETS:
        figures |= {f"{name}/{figure}": value for figure, value in measured(model, SETS[name]).items()}
        write(options, figures, cpu())


if __name__ == "__main__":
    main()
