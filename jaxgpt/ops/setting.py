"""Numbers of a configuration that a compiled program may take as inputs."""

import jax


def on(value: float | jax.Array) -> bool:
    """Whether a term with this weight, or dropout at this rate, is compiled in: unless the number is a plain 0.

    A traced number always is, as its value is not known while compiling.
    """
    return isinstance(value, jax.Array) or value != 0
