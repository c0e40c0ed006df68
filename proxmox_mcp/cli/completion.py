"""What a shell may offer for the word under the cursor, and the scripts that make it ask.

A script runs ``proxmox-mcp complete -- WORDS...``, the words so far with the unfinished one last,
and gets a line for each candidate: the word, a tab, what it is. It never evaluates them.

Candidates come from the command line's own parser and from the tools' schemas. No cluster is asked,
so no guest of yours is offered; with ``--demo`` the simulated cluster's are. Tools are offered
whether the settings switch them on or not, for reading the settings takes as long as a call.
"""

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from proxmox_mcp.cli import catalogue
from proxmox_mcp.cli.shells import SCRIPTS

MOST_FILES: Final = 200
FILES: Final = "config"
"""The flag that names a file."""
OF_DEMO: Final = {
    "vmid": "guests",
    "node": "nodes",
    "target": "nodes",
    "storage": "storages",
    "target_storage": "storages",
}
"""Which arguments name something that the simulated cluster has."""
_HARMLESS = re.compile(r"[\w.:=@/~+,-]+", re.ASCII)


class Candidate(NamedTuple):
    """A word that may stand at the cursor, and what it is."""

    word: str
    about: str = ""


def script(shell: str) -> str:
    """Return the script of a shell; what it will ask for is made ready by the way."""
    catalogue.load()
    return SCRIPTS[shell]


def answer(words: Sequence[str], parser: argparse.ArgumentParser, out: TextIO) -> int:
    """Print the candidates for the last of the words, one a line."""
    typed = list(words[1:] if words[:1] == ["--"] else words) or [""]
    for word, about in candidates(typed, parser):
        # What would need quoting, or could do anything in a terminal, is not worth offering.
        if word.startswith(typed[-1]) and _HARMLESS.fullmatch(word):
            told = "".join(letter for letter in " ".join(about.split()) if letter.isprintable())
            out.write(f"{word}\t{told}\n")
    return 0


def candidates(words: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[Candidate]:
    """Say what may stand in place of the last of the words, whatever its beginning."""
    *before, current = words
    place = Place.after(before, parser)
    if place.awaited:
        yield from _values_of_flag(place.awaited, current)
    elif current.startswith("-"):
        yield from _flags(place)
    elif commands := _commands(place.parser):
        yield from (Candidate(name, about) for name, about in commands.items())
    elif any(action.dest == "words" for action in place.parser._actions):  # noqa: SLF001
        yield from _call(place, current)
    elif not place.words:
        yield from _choices(place.parser)


# --- the command line ------------------------------------------------------------------------
# argparse has no public way to look at what a parser knows; these attributes are as old as it is.


@dataclass
class Place:
    """Where on the command line the cursor is.

    Attributes:
        parser: The parser of the command that was typed.
        words: What stands there that is no flag.
        flags: The flags that stand there.
        awaited: The flag whose value comes next.
    """

    parser: argparse.ArgumentParser
    words: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    awaited: argparse.Action | None = None

    @classmethod
    def after(cls, words: Iterable[str], parser: argparse.ArgumentParser) -> "Place":
        """Follow finished words into the commands."""
        place = cls(parser)
        for word in words:
            place.take(word)
        return place

    def take(self, word: str) -> None:
        """Go on by one finished word."""
        if self.awaited:
            self.awaited = None
        elif word.startswith("-"):
            self.flags.add(word)
            action = self.parser._option_string_actions.get(word)  # noqa: SLF001
            self.awaited = action if action and action.nargs != 0 else None
        elif (commands := _subparsers(self.parser)) and word in commands.choices:
            self.parser = commands.choices[word]
        else:
            self.words.append(word)


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    kinds = argparse._SubParsersAction  # noqa: SLF001
    return next((each for each in parser._actions if isinstance(each, kinds)), None)  # noqa: SLF001


def _commands(parser: argparse.ArgumentParser) -> dict[str, str]:
    found = _subparsers(parser)
    listed = found._choices_actions if found else []  # noqa: SLF001
    return {each.dest: each.help or "" for each in listed}


def _flags(place: Place) -> Iterator[Candidate]:
    for action in place.parser._actions:  # noqa: SLF001
        long = [name for name in action.option_strings if name.startswith("--")]
        if long and not place.flags.intersection(action.option_strings):
            yield Candidate(long[0], action.help or "")


def _values_of_flag(action: argparse.Action, current: str) -> Iterator[Candidate]:
    yield from (Candidate(str(choice)) for choice in action.choices or ())
    if action.dest == FILES:
        yield from _files(current)


def _choices(parser: argparse.ArgumentParser) -> Iterator[Candidate]:
    for action in parser._actions:  # noqa: SLF001
        if not action.option_strings:
            yield from (Candidate(str(choice)) for choice in action.choices or ())


# --- a call ----------------------------------------------------------------------------------


def _call(place: Place, current: str) -> Iterator[Candidate]:
    known = catalogue.load()
    if not place.words:
        yield from (Candidate(tool["name"], tool["about"]) for tool in known["tools"])
        return
    tool, *given = place.words
    schemas = (each["arguments"] for each in known["tools"] if each["name"] == tool)
    arguments: Mapping[str, Any] = next(schemas, {})
    name, equals, text = current.partition("=")
    if not equals:
        taken = {word.partition("=")[0] for word in given}
        yield from _names(arguments, taken)
    elif text.startswith("@"):
        yield from (
            Candidate(f"{name}=@{path}", about) for path, about in _files(text.removeprefix("@"))
        )
    else:
        demo = known["demo"] if "--demo" in place.flags else {}
        values = _values(name, arguments.get(name, {}), demo)
        yield from (Candidate(f"{name}={value}", about) for value, about in values)


def _names(arguments: Mapping[str, Any], taken: set[str]) -> Iterator[Candidate]:
    for name, schema in arguments.items():
        about = str(schema.get("description", ""))
        if name not in taken:
            yield Candidate(f"{name}=", about)
        if schema.get("type") == "object":
            yield Candidate(f"{name}.", f"One of its keys, as {name}.key=value.")


def _values(name: str, schema: Mapping[str, Any], demo: Mapping[str, Any]) -> Iterator[Candidate]:
    if schema.get("type") == "boolean":
        yield from map(Candidate, ("true", "false"))
    yield from map(Candidate, schema.get("enum", ()))
    yield from (Candidate(word, about) for word, about in demo.get(OF_DEMO.get(name, ""), ()))


def _files(begun: str) -> Iterator[Candidate]:
    folder, slash, stem = begun.rpartition("/")
    try:
        entries = sorted(os.scandir(Path(folder + slash or ".").expanduser()), key=lambda e: e.name)
    except (OSError, RuntimeError, ValueError):  # no such folder, no such home, no path at all
        return
    for entry in [each for each in entries if each.name.startswith(stem)][:MOST_FILES]:
        if stem or not entry.name.startswith("."):
            yield Candidate(f"{folder}{slash}{entry.name}{'/' if entry.is_dir() else ''}")
