"""One suite per seam. A test that takes `member` runs once for every member of the module's `SEAM`.

Nothing here names the members: a new one is tested as soon as it is declared. A module's `EXAMPLES` maps a kind to the
field values to try; a member with required fields needs an entry. An annotation `member: Base` keeps Base's members.
"""

import pytest
from pydantic_core import PydanticUndefined

from jaxgpt.seams import members
from jaxgpt.spec import Seam


def pytest_generate_tests(metafunc):
    if "member" not in metafunc.fixturenames:
        return
    base = metafunc.function.__annotations__.get("member", Seam)
    examples = getattr(metafunc.module, "EXAMPLES", {})
    cases = {}
    for kind, cls in members(metafunc.module.SEAM).items():
        if issubclass(cls, base) and cls.__module__.startswith("jaxgpt."):  # tests of other rooms declare their own
            for fields in examples.get(kind, [{}]):
                cases[" ".join([kind, *(f"{name}={value}" for name, value in fields.items())])] = (cls, fields)
    metafunc.parametrize("member", cases.values(), ids=cases.keys(), indirect=True)


@pytest.fixture
def member(request):
    cls, fields = request.param
    lacks = [
        name
        for name, field in cls.model_fields.items()
        if field.default is PydanticUndefined and field.default_factory is None and name not in fields
    ]
    if lacks:
        where = request.path.relative_to(request.config.rootpath)
        pytest.fail(f"{cls.seam} kind '{cls.kind}' needs {lacks}: add an example to EXAMPLES in {where}", pytrace=False)
    return cls(**fields)


@pytest.fixture
def by_kind(request, member):
    """`by_kind(TABLE)`: the table's entry for this member; a member without one fails and says so."""

    def look(table):
        if member.kind not in table:
            where = request.path.relative_to(request.config.rootpath)
            pytest.fail(f"{member.seam} kind '{member.kind}' has no plain formula in {where}: add one", pytrace=False)
        return table[member.kind]

    return look
