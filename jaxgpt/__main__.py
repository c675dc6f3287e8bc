"""The command `jaxgpt`, and `python -m jaxgpt`."""

import _signal  # at hand in every Python; `signal` itself takes longer to import than an impatient finger


def main() -> None:
    """Ctrl-C ends the process at once until a verb has something to save, even inside compiled code or an import, where
    Python's own answer comes late, as a traceback, or never. That is settled first, for the rest takes a second."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # else the parent chose: nohup, a shell's `&`
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from jaxgpt.process import settle

    settle()
    from jaxgpt import cli

    cli.main()


if __name__ == "__main__":
    main()
