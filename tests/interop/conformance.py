"""The protocol's own conformance suite, as far as it is about servers in general.

Most of its scenarios call tools that only its example server has; they fail here by design, and so
does the one on completion, which asks for one of its prompts: a server refuses a name that it does
not know. All of them run nevertheless: whatever the server says in any of them has to be valid by
the schema.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop.facts import CANNOT, OK
from tests.interop.node import node, pinned, script
from tests.process.server_process import BOUND, environment

PACKAGE = "@modelcontextprotocol/conformance"
VERSIONS = ("2025-06-18", "2025-11-25", "2026-07-28")
TITLE = f"`{PACKAGE}` {pinned(PACKAGE)}"
WIRE = "wire-schema-valid"

SCENARIOS: dict[str, tuple[str, ...]] = {
    "server-initialize": VERSIONS[:2],
    "server-session-lifecycle": VERSIONS[:2],
    "ping": VERSIONS[:2],
    "tools-list": VERSIONS,
    "resources-list": VERSIONS,
    "prompts-list": VERSIONS,
    "server-sse-multiple-streams": VERSIONS[1:],
    "dns-rebinding-protection": VERSIONS[1:],
    "sep-2164-resource-not-found": VERSIONS[2:],
    "caching": VERSIONS[2:],
    "http-header-validation": VERSIONS[2:],
}
"""The generic scenarios, and the versions of the protocol that each exists for."""


def verdicts(url: str, version: str, home: Path) -> dict[str, str]:
    """Run the suite against a server, and judge the generic scenarios."""
    results = home / version
    words = ("server", "--url", url, "--suite", "all", "--spec-version", version)
    subprocess.run(  # noqa: S603 - the conformance suite
        [node(), script(PACKAGE, "conformance"), *words, "--output-dir", str(results)],
        env=environment(home),
        capture_output=True,
        timeout=3 * BOUND,
        check=False,  # it counts the scenarios that cannot pass
    )
    checks = {_scenario(path): _checks(path) for path in results.glob("server-*/checks.json")}
    wire = [check for every in checks.values() for check in every if check["id"] == WIRE]
    verdict = {
        f"`{scenario}`": _verdict(checks.get(scenario, [])) if version in versions else CANNOT
        for scenario, versions in SCENARIOS.items()
    }
    return verdict | {f"`{WIRE}`, in every scenario that runs": _verdict(wire)}


def _scenario(path: Path) -> str:
    found = re.fullmatch(r"server-(.+?)-\d{4}-\d\d-\d\dT.*", path.parent.name)
    assert found, path
    return found[1]


def _checks(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text("utf-8")))


def _verdict(checks: list[dict[str, Any]]) -> str:
    if not any(check["status"] == "SUCCESS" for check in checks):
        return "did not run" if not checks else "; ".join(_failures(checks)) or "checked nothing"
    return "; ".join(_failures(checks)) or OK


def _failures(checks: list[dict[str, Any]]) -> Iterator[str]:
    for check in checks:
        if check["status"] == "FAILURE":
            yield f"{check['id']}: {check.get('errorMessage', check['description'])}"
