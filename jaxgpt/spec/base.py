"""The Spec: a frozen, strict value, so that it serves as a jit static argument and as a Linen field."""

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Base of every configuration value.

    Unknown fields are refused, instances are frozen and hashable, numbers must be finite (`1e-4` arrives from YAML as a
    string and is coerced). Sequences are declared as tuples so that the hash holds.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    inputs: ClassVar[tuple[str, ...]] = ()
    switches: ClassVar[tuple[str, ...]] = ()
    """See jaxgpt.spec.inputs."""

    def evolve(self, **changes: object) -> Self:
        """A copy with some fields changed, validated again (pydantic's `model_copy` does not validate)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | changes)
