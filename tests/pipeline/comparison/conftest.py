"""Settings that all tests of comparisons share."""

from collections.abc import Iterator

import pytest

from cpp_pipe.pipeline.comparison.rivals import RIVALS


@pytest.fixture(autouse=True, scope="module")
def only_rivals_that_need_no_compiler(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leaves out rivals that compile themselves, except in `test_compiled_rivals`."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.path.match("test_compiled_rivals.py"):
            for name in [name for name, rival in RIVALS.items() if rival.compiles]:
                patch.delitem(RIVALS, name)
        yield
