"""The few programs that the simulated guests have, and a shell just clever enough for them.

Nothing of the machine that runs the simulation is looked at, let alone run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

NOT_FOUND = 127
SHELLS = frozenset({"sh", "bash", "dash"})
CONNECTORS = frozenset({";", "&&", "||", "|", "\n"})
TOKEN = re.compile(
    r"""[ \t\r]*(?:
    (?P<turn>\d?>&\d|\d?>>?[ ]*[^\s;|&]+)
    |(?P<joint>&&|\|\||[;|\n])
    |(?P<word>(?:[^\s;|&<>"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+)
    |$)""",
    re.VERBOSE,
)
KERNEL = "6.1.0-27-amd64"


class Sign(str):
    """A word that means something to the shell because it was not quoted."""

    __slots__ = ()


@dataclass
class Outcome:
    """How a program ended, and after how long."""

    code: int = 0
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    quits: bool = False  # `exit` ends the whole script


@dataclass(frozen=True)
class Context:
    """What a program can see: the guest's name and its standard input."""

    hostname: str
    stdin: str = ""
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    )


Program = Callable[[Context, Sequence[str]], Outcome]


def _echo(_context: Context, arguments: Sequence[str]) -> Outcome:
    if arguments[:1] == ["-n"]:
        return Outcome(out=" ".join(arguments[1:]))
    return Outcome(out=" ".join(arguments) + "\n")


def _cat(context: Context, arguments: Sequence[str]) -> Outcome:
    outcome = Outcome()
    for name in arguments or ["-"]:
        if name == "-":
            outcome.out += context.stdin
        elif name == "/etc/hostname":
            outcome.out += f"{context.hostname}\n"
        else:
            outcome.err += f"cat: {name}: No such file or directory\n"
            outcome.code = 1
    return outcome


def _sleep(_context: Context, arguments: Sequence[str]) -> Outcome:
    try:
        return Outcome(seconds=sum(float(text) for text in arguments))
    except ValueError:
        return Outcome(1, err=f"sleep: invalid time interval '{arguments[0]}'\n")


def _uname(context: Context, arguments: Sequence[str]) -> Outcome:
    if "-a" in arguments:
        words = f"Linux {context.hostname} {KERNEL} #1 SMP PREEMPT_DYNAMIC Debian 6.1.115-1"
        return Outcome(out=f"{words} x86_64 GNU/Linux\n")
    return Outcome(out=f"{KERNEL if '-r' in arguments else 'Linux'}\n")


def _seq(_context: Context, arguments: Sequence[str]) -> Outcome:
    try:
        numbers = [int(text) for text in arguments]
    except ValueError:
        return Outcome(1, err=f"seq: invalid floating point argument: '{arguments[0]}'\n")
    first, last = (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[-1])
    return Outcome(out="".join(f"{n}\n" for n in range(first, last + 1)))


def _ls(_context: Context, arguments: Sequence[str]) -> Outcome:
    places = [name for name in arguments if not name.startswith("-")]
    unknown = [name for name in places if name not in {"/", "."}]
    if unknown:
        text = f"ls: cannot access '{unknown[0]}': No such file or directory\n"
        return Outcome(2, err=text)
    return Outcome(out="bin\nboot\ndev\netc\nhome\nroot\nsrv\ntmp\nusr\nvar\n")


def _printenv(context: Context, arguments: Sequence[str]) -> Outcome:
    known = context.environment
    if arguments:
        value = known.get(arguments[0])
        return Outcome(1) if value is None else Outcome(out=f"{value}\n")
    return Outcome(out="".join(f"{name}={value}\n" for name, value in known.items()))


def _wc(context: Context, arguments: Sequence[str]) -> Outcome:
    lines, words = context.stdin.count("\n"), len(context.stdin.split())
    counts = {"-l": lines, "-w": words, "-c": len(context.stdin.encode())}
    wanted = [name for name in counts if name in arguments] or list(counts)
    return Outcome(out=" ".join(str(counts[name]) for name in wanted) + "\n")


def _exit(_context: Context, arguments: Sequence[str]) -> Outcome:
    return Outcome(int(arguments[0]) if arguments else 0, quits=True)


PROGRAMS: dict[str, Program] = {
    "cat": _cat,
    "echo": _echo,
    "env": _printenv,
    "false": lambda _context, _arguments: Outcome(1),
    "hostname": lambda context, _arguments: Outcome(out=f"{context.hostname}\n"),
    "id": lambda _context, _arguments: Outcome(out="uid=0(root) gid=0(root) groups=0(root)\n"),
    "ls": _ls,
    "printenv": _printenv,
    "seq": _seq,
    "sleep": _sleep,
    "true": lambda _context, _arguments: Outcome(),
    "uname": _uname,
    "uptime": lambda _context, _arguments: Outcome(out=" 12:00:00 up 2 days,  0 users\n"),
    "wc": _wc,
    "whoami": lambda _context, _arguments: Outcome(out="root\n"),
}


def program_name(path: str) -> str | None:
    """The program that a command names, or nothing when the guest does not have it."""
    folder, _, name = path.rpartition("/")
    if folder not in {"", "/bin", "/usr/bin", "/usr/sbin", "/sbin"}:
        return None
    return name if name in PROGRAMS or name in SHELLS else None


def run(command: Sequence[str], context: Context) -> Outcome | None:
    """Run a program; nothing when there is no such program."""
    name = program_name(command[0]) if command else None
    if name is None:
        return None
    arguments = list(command[1:])
    if name in SHELLS:
        return _shell(context, arguments)
    return PROGRAMS[name](context, arguments)


def _shell(context: Context, arguments: Sequence[str]) -> Outcome:
    if arguments[:1] == ["-c"] and len(arguments) > 1:
        return script(arguments[1], context)
    return script(context.stdin, context)


def script(text: str, context: Context) -> Outcome:
    """Run a line of shell: programs joined by ; && || and |, with the usual redirections."""
    try:
        words = _words(text)
    except ValueError as error:
        return Outcome(2, err=f"sh: 1: Syntax error: {error}\n")
    total = Outcome()
    connector, piped, last = ";", "", 0
    for command, following in _commands(words):
        skipped = (connector == "&&" and last != 0) or (connector == "||" and last == 0)
        if not skipped:
            stdin = piped if connector == "|" else context.stdin
            outcome = _simple(command, Context(context.hostname, stdin, context.environment))
            last = outcome.code
            total.err += outcome.err
            total.seconds += outcome.seconds
            piped = outcome.out
            if following != "|":
                total.out += outcome.out
            if outcome.quits:
                break
        connector = following
    total.code = last
    return total


def _words(text: str) -> list[str]:
    words = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f'"{text[position:].strip()[:9]}" unexpected')
        position = match.end()
        if match["word"]:
            words += shlex.split(match["word"])
        elif match.lastgroup:
            words.append(Sign(match[match.lastgroup].replace(" ", "")))
    return words


def _commands(words: Sequence[str]) -> list[tuple[list[str], str]]:
    found: list[tuple[list[str], str]] = []
    command: list[str] = []
    for word in [*words, Sign(";")]:
        if isinstance(word, Sign) and word in CONNECTORS:
            if command:
                found.append((command, ";" if word == "\n" else word))
            command = []
        else:
            command.append(word)
    return found


def _simple(words: Sequence[str], context: Context) -> Outcome:
    turns = [word for word in words if isinstance(word, Sign)]
    command = [word for word in words if not isinstance(word, Sign)]
    if command[:1] == ["exit"]:
        return _exit(context, command[1:])
    outcome = run(command, context)
    if outcome is None:
        name = command[0] if command else ""
        outcome = Outcome(NOT_FOUND, err=f"sh: 1: {name}: not found\n")
    for turn in turns:
        _redirect(outcome, turn)
    return outcome


def _redirect(outcome: Outcome, turn: str) -> None:
    if turn in {">&2", "1>&2"}:
        outcome.out, outcome.err = "", outcome.err + outcome.out
    elif turn == "2>&1":
        outcome.out, outcome.err = outcome.out + outcome.err, ""
    elif turn.startswith("2>"):  # into a file, of which none is kept
        outcome.err = ""
    else:
        outcome.out = ""
