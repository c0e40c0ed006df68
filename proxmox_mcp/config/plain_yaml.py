"""As much YAML as credentials are written in: mappings of plain and quoted texts, by indentation.

Everything comes out as text. What is written any other way (an anchor, a block, a list, a vault's
cipher) is left out rather than guessed at, so a value that is there is the value that was meant.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

Node = dict[str, "str | Node"]

_ENTRY: Final = re.compile(r"""("[^"]*"|'[^']*'|[\w.-]+)\s*:(?:\s+(.*))?$""")
_OTHERWISE: Final = "&*!|>{[%@`?-,"
_UNQUOTED_END: Final = re.compile(r"\s+#.*$")
_QUOTED: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?:#.*)?$""")


def parsed(text: str) -> Node:
    """Return the mappings of the document, and nothing of what is written otherwise."""
    root: Node = {}
    open_nodes: list[tuple[int, Node]] = [(-1, root)]
    skipped_from: int | None = None
    for indent, line in _lines(text):
        if skipped_from is not None and indent > skipped_from:
            continue
        skipped_from = None
        entry = _ENTRY.match(line)
        if entry is None:
            skipped_from = indent
            continue
        while open_nodes[-1][0] >= indent:
            open_nodes.pop()
        node, name = open_nodes[-1][1], entry[1].strip("\"'")
        if not (entry[2] or "").split("#")[0].strip():
            child: Node = {}
            node[name] = child
            open_nodes.append((indent, child))
            continue
        if (value := _scalar(entry[2])) is not None:
            node[name] = value
        skipped_from = indent
    return root


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for line in text.splitlines():
        bare = line.strip()
        if bare and not bare.startswith(("#", "---", "...")):
            yield len(line) - len(line.lstrip()), bare


def _scalar(text: str) -> str | None:
    if text[0] in "\"'":
        quoted = _QUOTED.match(text)
        if quoted is None:
            return None
        if text[0] == "'":
            return quoted[1][1:-1].replace("''", "'")
        try:
            return str(json.loads(quoted[1]))
        except ValueError:  # an escape that only YAML knows
            return None
    if text[0] in _OTHERWISE:
        return None
    plain = _UNQUOTED_END.sub("", text).strip()
    return None if plain in ("null", "~") else plain
