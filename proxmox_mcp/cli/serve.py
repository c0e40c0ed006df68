"""Serving over stdio, with a bounded end.

The SDK alone hangs on SIGINT while idle, skips the lifespan's clean-up on SIGTERM, and at end of
input waits for threads that are blocked in a request. Here all three ways out are one: the input
ends, the server has a second to leave properly, and then the process is gone, log flushed. So the
SDK gets streams of ours: an input that can be ended, and the one way to the real stdout.
"""

import gc
import io
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import anyio
from anyio import to_thread
from mcp.server.stdio import stdio_server

from proxmox_mcp import __version__, logs, server
from proxmox_mcp.config import Settings
from proxmox_mcp.config.scrub import scrub

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.8
"""How long a hanging request may delay the end; Claude Code kills half a second after SIGINT."""

READ_BYTES = 65_536
"""As much as a pipe holds."""

QUIET_SECONDS = 1.5
"""After it a client has what it asks for by itself, and nobody has typed anything yet."""

SWITCH_SECONDS = 0.001
"""So long a thread with much to do keeps the event loop waiting; in turns of 5 ms that adds up."""


class Ending:
    """The one way out: a code, and a timer that does not wait for anybody."""

    def __init__(self) -> None:
        self.code = 0
        self._timer = threading.Timer(GRACE_SECONDS, self.now)
        self._timer.daemon = True
        self._begun = threading.Lock()

    def begin(self) -> None:
        """Start the clock; only the first call counts."""
        if self._begun.acquire(blocking=False):
            self._timer.start()

    def now(self) -> NoReturn:
        """End the process; a plain exit would join the threads that hang in a request."""
        log.info("server.stopped", extra={"code": self.code})
        logs.stop()
        os._exit(self.code)


class EndableInput(io.RawIOBase):
    """A descriptor whose end can be brought about, even under a blocked read."""

    def __init__(self, descriptor: int, on_end: Callable[[], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._on_end = on_end
        self._woken, self._wake = os.pipe()

    def readable(self) -> bool:
        """Say yes; this is an input."""
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override] # as io does it
        """Wait for input or for the end."""
        ready, _, _ = select.select([self._descriptor, self._woken], [], [])
        data = b"" if self._woken in ready else os.read(self._descriptor, len(buffer))
        if not data:
            self._on_end()
        buffer[: len(data)] = data
        return len(data)

    def end(self) -> None:
        """Make the next read, or the one under way, return the end of input."""
        os.write(self._wake, b".")


class Input:
    """The lines that come in; those that came together take one trip to a thread."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield each line, without its end; bytes that are no UTF-8 are marked in it."""
        parts: list[bytes] = []  # of the line that has begun
        while data := await to_thread.run_sync(self._source.read, READ_BYTES):
            first, *others = data.split(b"\n")
            parts.append(first)
            for following in others:
                yield b"".join(parts).decode("utf-8", errors="replace")
                parts = [following]
        if last := b"".join(parts):
            yield last.decode("utf-8", errors="replace")


class Output(anyio.AsyncFile[str]):
    """The way out, of which each message takes one trip to a thread.

    The SDK writes and then flushes; both may block, where the client does not read.
    """

    _waiting = ""

    async def write(self, text: str) -> None:  # type: ignore[override] # nobody asks how much
        """Keep what is to be written until the flush."""
        self._waiting += text

    async def flush(self) -> None:
        """Write and flush."""
        text, self._waiting = self._waiting, ""
        await to_thread.run_sync(self._send, text)

    def _send(self, text: str) -> None:
        self.wrapped.write(text)
        self.wrapped.flush()


def run(settings: Settings, out: io.TextIOWrapper) -> int:
    """Serve until the input ends or a signal comes; does not return on POSIX.

    Exit codes: 0 at the end of input, 128 + the signal's number after a signal.

    Args:
        settings: What was configured.
        out: The real stdout.
    """
    scrub(os.environ)  # no child has any use for a secret
    out.reconfigure(encoding="utf-8")
    secrets = settings.connection.secrets if settings.connection else ()
    logs.start(settings.log, secrets=secrets)
    logs.write_aside()
    try:
        return _run(settings, out)
    finally:
        logs.stop()


def _run(settings: Settings, out: io.TextIOWrapper) -> int:
    for warning in settings.warnings:
        log.warning(warning)
    sys.setswitchinterval(SWITCH_SECONDS)
    assembled = server.build(settings)
    # What there is now is never garbage: without it a collection takes a tenth as long, during
    # which everybody waits (benchmarks/README.md).
    gc.freeze()
    gc.enable()
    log.info(
        "server.started",
        extra={
            "version": __version__,
            "profile": settings.profile,
            "demo": settings.demo,
            "host": settings.connection.address if settings.connection else None,
            "identity": settings.connection.identity if settings.connection else None,
        },
    )
    if sys.platform == "win32":  # select cannot watch pipes there
        anyio.run(_speak, assembled, None, out)
        return 0
    return _serve(assembled, out)


def _serve(assembled: server.ProxmoxServer, out: io.TextIOWrapper) -> NoReturn:
    ending = Ending()
    source = EndableInput(os.dup(0), ending.begin)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)  # what children read must not be the protocol
    os.close(nowhere)
    anyio.run(_until_the_end, assembled, source, out, ending)
    ending.now()


async def _until_the_end(
    assembled: server.ProxmoxServer,
    source: EndableInput,
    out: io.TextIOWrapper,
    ending: Ending,
) -> None:
    async def stop_on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                ending.code = 128 + number
                ending.begin()
                source.end()
                return  # a second signal kills at once

    async with anyio.create_task_group() as group:
        group.start_soon(stop_on_signal)
        group.start_soon(_get_ready)
        try:
            await _speak(assembled, Input(source), out)
        finally:
            group.cancel_scope.cancel()


async def _get_ready() -> None:
    """Load what the first call needs, once the client has its list and nobody is waiting."""
    await anyio.sleep(QUIET_SECONDS)
    with suppress(Exception):  # the first call will tell
        await to_thread.run_sync(import_module, "proxmox_mcp.pve.session", abandon_on_cancel=True)
    gc.freeze()


async def _speak(
    assembled: server.ProxmoxServer, words: Input | None, out: io.TextIOWrapper
) -> None:
    """Do what the SDK's ``run_stdio_async`` does, which takes no streams."""
    lowlevel = assembled._lowlevel_server  # noqa: SLF001 - no public way leads there
    stdin: Any = words  # which is all that the SDK does with it: to ask for line after line
    async with stdio_server(stdin, Output(out)) as (reader, writer):
        await lowlevel.run(reader, writer, lowlevel.create_initialization_options())
