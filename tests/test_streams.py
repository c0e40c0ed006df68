"""The server's way in and out: lines are whole whatever they come in, and trips to threads few."""

import io
from collections.abc import Iterable
from unittest.mock import Mock

import anyio
import pytest
from anyio import to_thread
from pytest_mock import MockerFixture

from proxmox_mcp.cli import serve


class Pieces(io.RawIOBase):
    """An input that gives what a pipe happened to hold at each read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self._pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override] # as io does it
        piece = self._pieces.pop(0) if self._pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.fixture
def trips(mocker: MockerFixture) -> Mock:
    """The trips to a thread."""
    return mocker.spy(to_thread, "run_sync")


async def lines(*pieces: bytes) -> list[str]:
    return [line async for line in serve.Input(Pieces(pieces))]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b'{"a":1}\n',), ['{"a":1}']),
        ((b'{"a":', b"1}", b'\n{"b":2}\n'), ['{"a":1}', '{"b":2}']),
        ((b'{"name":"caf\xc3', b'\xa9"}\n'), ['{"name":"café"}']),
        ((b'{"a":"\xff"}\n',), ['{"a":"�"}']),
        ((b'{"a":1}\r\n',), ['{"a":1}\r']),
        ((b'{"a":1}',), ['{"a":1}']),
        ((b"\n\n",), ["", ""]),
        ((b"1\n2", b"3", b"\n", b"4\n5\n6"), ["1", "23", "4", "5", "6"]),
        ((), []),
    ],
)
async def test_lines_come_whole_whatever_pieces_they_come_in(
    pieces: tuple[bytes, ...], expected: list[str]
) -> None:
    assert await lines(*pieces) == expected


async def test_lines_that_came_together_take_one_trip_to_a_thread(trips: Mock) -> None:
    assert len(await lines(b"{}\n" * 50)) == 50
    assert trips.call_count == 2  # the other one finds the end


async def test_a_message_goes_out_whole_and_in_one_trip_to_a_thread(trips: Mock) -> None:
    wire = io.BytesIO()
    out = serve.Output(io.TextIOWrapper(wire, encoding="utf-8"))

    for message in ('{"a":"é"}\n', '{"b":2}\n'):
        await out.write(message)
        await out.flush()
        assert wire.getvalue().endswith(message.encode())

    assert wire.getvalue() == '{"a":"é"}\n{"b":2}\n'.encode()
    assert trips.call_count == 2


async def test_what_the_first_call_needs_is_loaded_in_the_quiet_after_the_start(
    mocker: MockerFixture,
) -> None:
    mocker.patch.object(serve, "QUIET_SECONDS", 0)
    mocker.patch("gc.freeze")
    load = mocker.patch.object(serve, "import_module", side_effect=AttributeError("half installed"))

    with anyio.fail_after(10):
        await serve._get_ready()

    load.assert_called_once_with("proxmox_mcp.pve.session")
