"""The secrets that this suite uses, and where none of them may ever stand.

Every log, audit trail and stderr that a test writes, and every answer that its client gets, is
searched when the test is over (`conftest.no_secret_gets_out`).
"""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from proxmox_mcp.simulator import PASSWORD

FOLDER = Path(__file__).parent
NAMED = re.compile(r"(^|_)(SECRET|HUSH|PASSWORD|PASSPHRASE)S?(_|$)")
SEARCHED = re.compile(r"\.jsonl(\.\d+)?$|stderr|\.log$")
"""The files that are searched, by their names: what a test writes as settings does hold secrets."""


def constants() -> dict[str, str]:
    """Every text that a test module keeps under a name that says it is a secret."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        if "node_modules" in path.parts:  # other people's, put there to talk to this server
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
                continue
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node.value.value, str) and any(map(NAMED.search, names)):
                found[f"{path.name}:{names[0]}"] = node.value.value
    return found


SECRETS = tuple({PASSWORD["password"], *(text for text in constants().values() if len(text) >= 8)})


def leaks(text: str) -> list[str]:
    """Which secrets stand in a text, cut so that a failing test does not print them whole."""
    return [f"{secret[:4]}…" for secret in SECRETS if secret in text]


def files_with_leaks(folder: Path) -> list[str]:
    """Which of the searched files below a folder hold a secret."""
    return [
        f"{path.relative_to(folder)}: {found}"
        for path in _searched(folder)
        if (found := leaks(path.read_text(encoding="utf-8", errors="replace")))
    ]


def _searched(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and SEARCHED.search(path.name))
