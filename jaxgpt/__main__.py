"""The command `jaxgpt`, and `python -m jaxgpt`."""

from jaxgpt.process import prepare_process


def main() -> None:
    """Runs a verb. The process is settled first, for the verbs take a second to import."""
    prepare_process()
    from jaxgpt import cli

    cli.main()


if __name__ == "__main__":
    main()
