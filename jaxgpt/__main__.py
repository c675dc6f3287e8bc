"""The command `jaxgpt`, and `python -m jaxgpt`."""

from jaxgpt.process import settle


def main() -> None:
    """Settles the process first, for the verbs take half a second to import."""
    settle()
    from jaxgpt import cli

    cli.main()


if __name__ == "__main__":
    main()
