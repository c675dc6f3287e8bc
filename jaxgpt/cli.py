"""The verbs. Frozen; every knob lives in a spec and is reached by `a.b=c`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxgpt import __version__, shipped
from jaxgpt.arguments import (
    Config,
    Out,
    Overrides,
    Seeds,
    Source,
    Target,
    before_jax,
    figures_file,
)
from jaxgpt.chat_verb import chat
from jaxgpt.disk import resolve, typed
from jaxgpt.eval_verb import evaluate
from jaxgpt.lab_verbs import STOPPED, lab
from jaxgpt.spec import JaxgptError
from jaxgpt.terminal import say

UsageError: Any = typer.BadParameter.__base__  # typer brings its own click in some releases
DIVERGED = 3
"""Exit status of a run whose updates were not finite too often, so that `train && eval` stops."""

app = typer.Typer(
    name="jaxgpt",
    help="Reproduce GPT papers, swap one mechanism, get an answer with an error bar.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit status: 0 done, 2 bad input, 3 the run diverged, 4 runs of a sweep failed, 75 a signal stopped it "
    "after saving (the same command continues), 130 Ctrl-C, 141 nobody reads the output. `--debug`, anywhere, shows "
    "tracebacks.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"jaxgpt {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="show the version and end", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    out: Out = None,
    coordinator: Annotated[
        str | None, typer.Option(help="where process 0 of several listens; auto: ask the cluster", metavar="HOST:PORT")
    ] = None,
    processes: Annotated[int | None, typer.Option(help="how many train the run together", metavar="N")] = None,
    process: Annotated[int | None, typer.Option(help="which of them this is, from 0", metavar="I")] = None,
) -> None:
    """Train a run; continues by itself when DIR holds it unfinished."""
    from jaxgpt.parallel.processes.agreement import process_index
    from jaxgpt.parallel.processes.joining import join
    from jaxgpt.runs.run import Run, run
    from jaxgpt.spec import load_yaml

    spec = load_yaml(Run, config, overrides or [])
    join(coordinator, processes, process)
    folder = out or Path("runs") / config.stem
    result = run(spec, folder)
    if process_index() == 0:
        print(json.dumps(result))
        if result["status"] == "diverged":
            line = f"{folder}: diverged at step {result.get('step')}: updates were not finite; lower optim.lr"
            say(f"error: {line}, or warm up for longer")
    if result["status"] == "diverged":
        raise typer.Exit(DIVERGED)
    if result["status"] == "stopped":
        raise typer.Exit(STOPPED)


@app.command()
def ablate(
    experiment: Target,
    overrides: Overrides = None,
    seeds: Seeds = None,
    out: Out = None,
) -> None:
    """Plan, run and report an experiment; continues by itself. Exit status 4: some runs failed."""
    from jaxgpt.lab import ablate as run_experiment
    from jaxgpt.lab.workers.engines import FAILED

    before_jax()
    if run_experiment(experiment, overrides or [], seeds, out).left:
        raise typer.Exit(FAILED)


app.add_typer(lab, name="lab")


@app.command()
def sample(
    run: Source,
    prompt: Annotated[str, typer.Option(help="text to continue", metavar="TEXT", show_default="a newline")] = "\n",
    max_new: Annotated[int, typer.Option(help="tokens to write", metavar="N", min=1)] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token", metavar="T")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="draw from the K likeliest", metavar="K")] = None,
    top_p: Annotated[float | None, typer.Option(help="draw from the likeliest that sum to P", metavar="P")] = None,
    seed: Annotated[int, typer.Option(help="seed of the draws", metavar="S")] = 0,
) -> None:
    """Continue a prompt with a trained model, as it is written."""
    from jaxgpt.decode import Sampling
    from jaxgpt.inference.load import load

    sampling = Sampling.checked(temperature=temperature, top_k=top_k, top_p=top_p)
    model = load(run)
    prompt = prompt.encode("utf-8", "replace").decode()  # bytes of the command line that are no text
    for index, piece in enumerate(model.stream(prompt, max_new, sampling, seed)):
        print(piece if index else prompt + piece, end="", flush=True)
    print()


app.command("eval")(evaluate)
app.command("chat")(chat)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="a run, a Hugging Face or PEFT folder, a .gguf file, a .bin of llama2.c", metavar="SRC", parser=resolve
        ),
    ],
    target: Annotated[
        Path, typer.Argument(help="a new folder, for transformers, or a .gguf file", metavar="DST", parser=resolve)
    ],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16 or nf4", metavar="TYPE")] = "float32",
    merge: Annotated[bool, typer.Option("--merge", help="an adapter goes into the weights; says the error")] = False,
) -> None:
    """Write a model, or an adapter alone, for other libraries, whole or not at all; `jaxgpt.load` reads them all."""
    from jaxgpt.inference.convert import convert as write

    before_jax()
    write(source, target, dtype, merge=merge)
    say(f"wrote {typed(target)}")


@app.command()
def show(
    config: Config,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
    pattern: Annotated[
        Path | None, typer.Option(help="draw the attention patterns too", metavar="PICTURE", parser=resolve)
    ] = None,
    sharding: Annotated[bool, typer.Option("--sharding", help="what lies where on exec.mesh, and its bytes")] = False,
) -> None:
    """The resolved config, exact parameter count, FLOPs per token and memory; allocates nothing."""
    from jaxgpt.runs import ObjectiveRun
    from jaxgpt.spec import dump_yaml, load_yaml
    from jaxgpt.train.summary import summarize

    before_jax()
    spec = load_yaml(ObjectiveRun, config, overrides or [])
    for remark in spec.remarks():
        say(f"warning: {remark}")
    facts = summarize(spec)
    if pattern is not None:
        from jaxgpt.plots.masks import draw_patterns

        draw_patterns(spec.model, spec.seq_len, pattern)
        say(f"pattern pictures: {typed(pattern)}")
    if sharding:
        from jaxgpt.train.sharding_table import sharding_table

        facts["sharding"] = sharding_table(ObjectiveRun.model_validate(facts["spec"]))
    if as_json:
        print(json.dumps(facts))
        return
    if sharding:
        from jaxgpt.train.sharding_text import print_sharding

        print_sharding(facts["sharding"])
        return
    print(dump_yaml(spec), end="")
    print("---")
    for name, value in facts.items():
        if name != "spec":
            print(f"{name:32} {value:,.0f}" if isinstance(value, int | float) else f"{name:32} {value}")


@app.command("compile")
def compile_for_tpu(
    config: Config,
    overrides: Overrides = None,
    *,
    topology: Annotated[str, typer.Option(help="v5p:8x8x16, or v5p:8x8x16*2 for two slices", metavar="SLICE")],
    mesh: Annotated[
        str,
        typer.Option(help="exec.mesh, as fsdp=128,tensor=8; else many are tried", metavar="AXIS=N,..."),
    ] = "",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="where the figures go", metavar="PATH", parser=figures_file)
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="try meshes that keep --mesh's axes, and rank them")] = False,
) -> None:
    """Compile the training step for TPUs that are not there: memory, collectives, predicted time and MFU."""
    from jaxgpt.aot import compile_ahead

    compile_ahead(config, overrides or [], topology, mesh, json_path, search)


def _listed(incomplete: str) -> list[str]:
    return [f"{kind}s" for kind in shipped.KINDS if f"{kind}s".startswith(incomplete)]


@app.command("list")
def list_seams(
    what: Annotated[
        str | None,
        typer.Argument(help="one seam only, or configs, or experiments", metavar="WHAT", autocompletion=_listed),
    ] = None,
) -> None:
    """What can be swapped, with a line and a citation each; or the configs or experiments that come with jaxgpt."""
    for kind in shipped.KINDS:
        if what == f"{kind}s":
            for name, file in shipped.names(kind).items():
                print(f"{name:26} {shipped.headline(file)}")
            return
    from jaxgpt.seams import members, seams
    from jaxgpt.spec import ConfigError
    from jaxgpt.spec.errors import did_you_mean, quote

    known = seams()
    if what is not None and what not in known:
        near = did_you_mean(what, [*known, *(f"{kind}s" for kind in shipped.KINDS)])
        raise ConfigError(f"{quote(what)[1:-1]}: no such seam{near}")
    for name in [what] if what else known:
        print(f"{name}")
        for member_kind, member in members(name).items():
            line = next(iter((member.__doc__ or "").strip().splitlines()), "")
            print(f"  {member_kind:14} {line}" + (f"  [{member.citation}]" if member.citation else ""))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
) -> None:
    """Versions, devices, which attention kernels run here and why not others, memory, disk, folders; 2 if broken."""
    from jaxgpt.doctor import report

    if not report(as_json):
        raise typer.Exit(2)


def main() -> None:
    """Runs a verb. Bad input: one line for each problem, exit status 2; `--debug` shows the traceback."""
    words: list[Any] = sys.argv[1:]
    debug = "--debug" in words
    if debug:
        words = ["--debug", *(word for word in words if word != "--debug")]
    try:
        sys.exit(app(args=words, prog_name="jaxgpt", standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        lines = [] if debug else _lines(error)
        if lines is None or debug:
            raise
        for line in filter(None, lines):
            say(f"error: {line}")
        sys.exit(getattr(error, "exit_status", 2))


def _lines(error: Exception) -> list[str] | None:
    """What is told of an error that is the input's, or the machine's; None for all others."""
    if isinstance(error, JaxgptError):
        return error.problems
    if isinstance(error, UsageError):
        return JaxgptError(error.format_message()).problems
    if "jax" in sys.modules:
        from jaxgpt.parallel.backend import failure

        if isinstance(error, RuntimeError | AssertionError) and (why := failure()) is not None:
            return [why]
    return None


if __name__ == "__main__":
    from jaxgpt.process import prepare_process

    prepare_process()
    main()
