"""jaxgpt: reproduce GPT papers in JAX, swap one mechanism, get an answer with an error bar.

m = jaxgpt.load("runs/shakespeare_char_cpu")
m.generate(["ROMEO:"], max_new=64)
jaxgpt.run(spec, out="runs/mine")
"""

TYPE_CHECKING = False  # type checkers take it for typing's, which takes longer to import than all the rest here
if TYPE_CHECKING:
    from jaxgpt.inference.load import load
    from jaxgpt.inference.loaded import Loaded
    from jaxgpt.runs.run import run

__version__ = "0.1.0"

__all__ = ["Loaded", "load", "run"]


def __getattr__(name: str) -> object:
    """Loads the two entry points on first use, so that `import jaxgpt` stays cheap."""
    if name == "run":
        from jaxgpt.runs.run import run

        return run
    if name in ("load", "Loaded"):
        import jaxgpt.inference.load

        return getattr(jaxgpt.inference.load, name)
    raise AttributeError(f"module 'jaxgpt' has no attribute {name!r}")
