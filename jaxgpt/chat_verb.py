"""`jaxgpt chat`: a dialogue on the terminal, or line by line through a pipe."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from jaxgpt.arguments import Source, before_jax
from jaxgpt.disk import resolve
from jaxgpt.terminal import say


def chat(
    run: Source,
    system: Annotated[
        str | None, typer.Option(help="the system turn, which stays in front of the history", metavar="TEXT")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="template (the checkpoint's own), dialogpt, chitchat or plain",
            metavar="NAME",
            show_default="the checkpoint's",
        ),
    ] = None,
    max_new: Annotated[int, typer.Option(help="tokens of an answer at most", metavar="N", min=1)] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token", metavar="T")] = 0.7,
    top_k: Annotated[int | None, typer.Option(help="draw from the K likeliest", metavar="K")] = None,
    top_p: Annotated[float | None, typer.Option(help="draw from the likeliest that sum to P", metavar="P")] = 0.9,
    seed: Annotated[int, typer.Option(help="seed of the draws", metavar="S")] = 0,
    mmi: Annotated[
        Path | None,
        typer.Option(help="a model trained on turns in reverse, which picks answers", metavar="RUN", parser=resolve),
    ] = None,
    candidates: Annotated[int, typer.Option(help="answers that it picks from", metavar="N", min=1)] = 8,
) -> None:
    """Talk with a model: a line is a turn, the end of the input ends the talk."""
    from jaxgpt.decode import Sampling
    from jaxgpt.inference.chat import Chat
    from jaxgpt.inference.load import load
    from jaxgpt.spec import ConfigError

    before_jax()
    sampling = Sampling.checked(temperature=temperature, top_k=top_k, top_p=top_p)
    reverse = None if mmi is None else load(mmi)
    talk = Chat(load(run), system, form, max_new, sampling, seed, reverse, candidates)
    asking = sys.stdin.isatty()
    if asking:
        say(f"form {talk.form}; Ctrl-D ends")
    while True:
        if asking:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if not (text := line.strip()):
            continue
        try:
            for piece in talk.say(text.encode("utf-8", "replace").decode()):
                print(piece, end="", flush=True)
        except ConfigError as error:
            if not asking:
                raise
            say(f"error: {error.problems[0]}")
            continue
        print()
        if talk.dropped:
            say(f"the oldest {talk.dropped} messages no longer fit, and were left out")
