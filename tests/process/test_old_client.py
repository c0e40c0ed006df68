"""A client built on the SDK's first major version, in its own environment, uses our server."""

import pytest

from tests.interop.facts import COLUMNS, OK, Facts, cells
from tests.interop.rows import PYTHON_1, python_1
from tests.process.environments import INSTALL_SECONDS

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """What that client got to see."""
    return python_1(tmp_path_factory.mktemp("old-client"))


def test_it_really_is_an_old_client(seen: Facts) -> None:
    assert (seen["version"], seen["protocol"]) == (PYTHON_1, "2025-11-25")


@pytest.mark.parametrize("column", COLUMNS)
def test_it_sees_what_every_client_has_to_see(column: str, seen: Facts) -> None:
    assert cells(seen, "legacy")[column] == OK


def test_it_reads_why_a_call_failed(seen: Facts) -> None:
    assert seen["refused"]["error"]
    assert "999" in seen["refused"]["text"]
