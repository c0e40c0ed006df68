"""The program without the second or two that each start takes: a fork of one that has started.

A test of what a command does, and not of how it starts, runs `program()` in place of
`python -m proxmox_mcp`. That is a small process too. It hands its words, its environment, its
folder and its three streams to a Python that has imported everything and done nothing yet. A fork
of that becomes the program, with a session and, where its input is one, a terminal of its own.
Signals are passed on, the end comes back, and a killed client takes its program along.

Starting itself is tested cold, in test_stdio, test_shadow, test_tour, test_newcomer, test_wheel.
"""

import atexit
import functools
import gc
import importlib
import marshal
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COLD = (sys.executable, "-m", "proxmox_mcp")
CLIENT = Path(__file__).with_name("warm_client.py")
STREAMS = 3
HEAD = 4
SECONDS = 60
COMMANDS = [
    "audit",
    "call",
    "check",
    "completion",
    "manual",
    "onboarding",
    "role",
    "serve",
    "tools",
]
EVERYTHING = (*(f"proxmox_mcp.cli.{name}" for name in COMMANDS), "proxmox_mcp.simulator")


@functools.cache
def program() -> tuple[str, ...]:
    """Return the command that starts the program warm; cold where there are no forks."""
    if not hasattr(os, "fork"):
        return COLD
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    door = Path(folder.name, "door")
    parent = subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-m", "tests.process.warm", str(door)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,  # when this closes, however we end, it ends as well
        stdout=subprocess.PIPE,
    )
    assert parent.stdout
    assert parent.stdin
    assert parent.stdout.readline() == b"ready\n"
    parent.stdout.close()
    atexit.register(folder.cleanup)
    atexit.register(parent.wait, SECONDS)
    atexit.register(parent.stdin.close)
    return (sys.executable, "-I", "-S", str(CLIENT), str(door))


# --- the Python that has started -------------------------------------------------------------


def main(door: str) -> None:
    """Wait for what is to be run; only a fork that is to be the program gets past this."""
    for name in EVERYTHING:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no fork looks through all of this again, and copies it by that
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(door)
        listener.listen(64)
        os.write(1, b"ready\n")
        while not _becomes_the_program(listener):
            pass


def _becomes_the_program(listener: socket.socket) -> bool:
    anything: list[Any] = [listener, 0]
    ready, _, _ = select.select(anything, [], [])
    if 0 in ready:
        os._exit(0)
    connection, _ = listener.accept()
    if os.fork():
        connection.close()
        _reap()
        return False
    listener.close()
    return _mind(connection)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _mind(connection: socket.socket) -> bool:
    """Look after one program: pass signals on and tell its end. True in the program itself."""
    head, streams, _, _ = socket.recv_fds(connection, HEAD, STREAMS)
    with connection.makefile("rb") as stream:
        words, environ, folder = marshal.loads(stream.read(int.from_bytes(head)))  # noqa: S302 - ours
    lives, living = os.pipe()
    pid = os.fork()
    if not pid:
        connection.close()
        os.close(lives)
        _dress(words, environ, folder, streams)
        return True
    for each in (*streams, living):
        os.close(each)
    anything: list[Any] = [connection, lives]
    while True:
        ready, _, _ = select.select(anything, [], [])
        if lives in ready:
            break
        numbers = connection.recv(64)
        for number in numbers or [signal.SIGKILL]:
            os.kill(pid, number)
        if not numbers:
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.sendall(marshal.dumps(code))
    os._exit(0)


def _dress(words: list[str], environ: dict[str, str], folder: str, streams: list[int]) -> None:
    """Look like a program that has just been started."""
    os.setsid()
    for number, each in enumerate(streams):
        os.dup2(each, number)
        os.close(each)
    if os.isatty(0):
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # whose first opener is its owner
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = [COLD[-1], *words]
    # For its whole life, as the interpreter's own: nobody closes them.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main(sys.argv[1])
    runpy.run_module("proxmox_mcp", run_name="__main__", alter_sys=True)
