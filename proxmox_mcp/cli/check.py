"""Does it work, and what is missing: one look at connection, certificate, login and rights.

Exit codes: 0 all of it works; 1 something does not; 2 there is no connection, or the settings are
bad. Nothing is changed on the cluster.
"""

import json
import re
import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import anyio
from anyio import to_thread

from proxmox_mcp.access import cluster_of
from proxmox_mcp.config import Settings
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import ProxmoxError, Untrusted
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.permissions import Permissions, Reach
from proxmox_mcp.toolkit.audit import Trail, TrailError
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.toolkit.needs import judge
from proxmox_mcp.toolkit.text import clean_line
from proxmox_mcp.tools import TOOLS

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

NO_CONNECTION = 2
COLUMNS = 80
CLOCK_SECONDS = 60
"""More than this apart, tickets and times in answers go wrong."""
DAYS_LEFT = 14
NEWEST = 9
"""What a server is taken for that does not tell its version."""

GLOSSARY = {
    "{newid}": "a guest yet to be made: rights on single guests or a pool do not reach it",
    "{backups}": "a storage that holds backups",
    "{disks}": "a storage that holds disks",
}
"""What the less plain words in braces stand for."""


@dataclass
class ToolReport:
    """Whether this token can use a tool, and where.

    Attributes:
        name: The tool's.
        usable: Whether it works at all.
        missing: The privileges without which it fails, each with its path.
        only_on: Where alone it works, by the needs' path: what is not here may be any.
        not_on: Where it does not work, though it does everywhere else.
        less: What it cannot do or see, though it works.
    """

    name: str
    usable: bool
    missing: tuple[str, ...] = ()
    only_on: dict[str, list[str]] = field(default_factory=dict)
    not_on: dict[str, list[str]] = field(default_factory=dict)
    less: tuple[str, ...] = ()

    @property
    def in_full(self) -> bool:
        """Whether nothing is missing, anywhere."""
        return self.usable and not (self.only_on or self.not_on or self.less)


@dataclass
class Report:
    """What was found."""

    address: str
    token: str
    login_from: str
    version: str | None = None
    latency_ms: float | None = None
    clock_ahead_s: float | None = None
    fingerprint: str | None = None
    certificate_days_left: int | None = None
    certificate_believed: str | None = None
    privilege_separation: str | None = None
    audit_file: str | None = None
    problems: list[str] = field(default_factory=list)
    tools: list[ToolReport] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code."""
        if self.version is None:
            return NO_CONNECTION
        return 1 if self.problems or not all(tool.usable for tool in self.tools) else 0


def run(
    settings: Settings, out: TextIO, *, as_json: bool, adapter: "BaseAdapter | None" = None
) -> int:
    """Look, print what was found, and return the exit code."""
    report = anyio.run(partial(_looked, settings, adapter))
    text = json.dumps(asdict(report), indent=2) if as_json else "\n".join(_lines(report))
    out.write(f"{text}\n")
    return report.code


async def _looked(settings: Settings, adapter: "BaseAdapter | None") -> Report:
    cluster = cluster_of(settings, adapter)
    connection = cluster.bridge.connection
    report = Report(connection.address, connection.identity, _origin(settings))
    pve = Pve(cluster)
    over_tls = not settings.demo and adapter is None
    try:
        await _connection(pve, report)
        await _rights(pve, settings, report)
    except ProxmoxError as error:
        report.version = None
        report.problems.append(clean_line(error))
        if over_tls and isinstance(error, Untrusted):
            await _certificate(settings, report)
        return report
    if over_tls:
        await _certificate(settings, report)
    await _trail(settings, report)
    return report


async def _connection(pve: Pve, report: Report) -> None:
    await pve.open()
    await pve.record(pve.version.get)  # what a first request costs more is no latency
    began = time.perf_counter()
    said = await pve.record(pve.version.get)
    report.latency_ms = round((time.perf_counter() - began) * 1000, 1)
    report.version = clean_line(said.get("version", "unknown"))
    report.clock_ahead_s = round(pve.cluster.bridge.server_time() - time.time(), 1)
    if abs(report.clock_ahead_s) > CLOCK_SECONDS:
        ahead = "ahead of" if report.clock_ahead_s > 0 else "behind"
        report.problems.append(
            f"The cluster's clock is {abs(report.clock_ahead_s):.0f} s {ahead} this machine's."
            " Set the one that is wrong (chronyc tracking): logins and ages depend on both."
        )


async def _rights(pve: Pve, settings: Settings, report: Report) -> None:
    listed = await pve.record(pve.access.permissions.get)
    resources = await pve.rows(pve.cluster_api.resources.get)
    held = Permissions(listed | await _on_nodes(pve, resources), resources)
    version = _major(str(report.version))
    report.tools = [
        _judged(spec, held, version) for spec in TOOLS if settings.policy.withholds(spec) is None
    ]
    report.privilege_separation = await _separation(pve, settings)
    if not listed:
        report.problems.append(
            "The token has no right at all. With privilege separation it needs permissions of its"
            " own; proxmox-mcp role prints the commands."
        )


async def _on_nodes(pve: Pve, resources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Ask about each node: one without any right there (NoAccess) is not in the whole answer.

    A guest or a storage of that kind is not seen at all, and so nothing that a tool could fail on.
    """
    paths = [f"/nodes/{row['node']}" for row in resources if row.get("type") == "node"]
    asked = [await pve.record(pve.access.permissions.get, path=path) for path in paths]
    return {path: answer.get(path, {}) for path, answer in zip(paths, asked, strict=True)}


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else NEWEST


def _origin(settings: Settings) -> str:
    names = ("token_value", "password")
    found = [settings.sources[name] for name in names if name in settings.sources]
    return next((place for place in found if place != "default"), "the simulated cluster")


async def _separation(pve: Pve, settings: Settings) -> str:
    """Say whether the token has rights of its own, as far as it may see that."""
    connection = settings.connection
    if connection is None:
        return "simulated"
    if not connection.token_name:
        return "a password: it has all rights of its user"
    user = pve.access.users(connection.user).token(connection.token_name)
    try:
        found = await pve.record(user.get)
    except ProxmoxError:
        return "unknown: seeing it takes User.Modify on /access/groups"
    if found.get("privsep"):
        return "on: it has rights of its own, within its user's"
    return "off: it has all rights of its user"


async def _certificate(settings: Settings, report: Report) -> None:
    from proxmox_mcp.pve import tls  # noqa: PLC0415 - what a simulated cluster does without

    connection = settings.connection
    if connection is None:
        return
    look = partial(
        tls.shown_certificate, connection.host, connection.port, connection.connect_timeout
    )
    shown = await to_thread.run_sync(look)
    if shown is None:
        return
    report.fingerprint = shown.fingerprint
    report.certificate_believed = _believed(connection) if report.version else "NOT TRUSTED"
    left = report.certificate_days_left = int((shown.ends - time.time()) // 86_400)
    if left < DAYS_LEFT:
        ends = f"ends in {left} days" if left >= 0 else f"ended {-left} days ago"
        report.problems.append(f"The certificate {ends}: renew it on the node (pvenode cert).")


def _believed(connection: Connection) -> str:
    if connection.fingerprint:
        return "pinned by its fingerprint"
    if isinstance(connection.verify_ssl, str):
        return "signed by the authority in verify_ssl"
    return "signed by an authority of this machine" if connection.verify_ssl else "NOT VERIFIED"


async def _trail(settings: Settings, report: Report) -> None:
    report.audit_file = str(settings.trail)
    if settings.policy.read_only:
        return
    try:
        await to_thread.run_sync(Trail(settings.trail).probe)
    except TrailError as error:
        report.problems.append(f"{error} Until then no change is made.")


def _judged(spec: ToolSpec, held: Permissions, version: float) -> ToolReport:
    verdict = judge(spec.needs, held, version)
    where = {path: (reach.everywhere, sorted(reach.paths)) for path, reach in verdict.where.items()}
    return ToolReport(
        spec.name,
        verdict.usable,
        missing=tuple(need.text for need in verdict.missing),
        only_on={path: paths for path, (everywhere, paths) in where.items() if not everywhere},
        not_on={path: paths for path, (everywhere, paths) in where.items() if everywhere},
        less=verdict.less,
    )


# --- for people ------------------------------------------------------------------------------


def _lines(report: Report) -> list[str]:
    """Put a report into lines for people, at most 80 columns wide."""
    clock = None
    if report.clock_ahead_s is not None:
        clock = f"{report.clock_ahead_s + 0:+.1f} s against this machine's"
    rows: list[tuple[str, str | None]] = [
        ("host", report.address),
        ("login", report.token),
        ("secret from", report.login_from),
        ("version", report.version or "NO CONNECTION"),
        ("latency", None if report.latency_ms is None else f"{report.latency_ms} ms"),
        ("clock", clock),
        ("certificate", _certified(report)),
        ("fingerprint", report.fingerprint and _in_halves(report.fingerprint)),
        ("privsep", report.privilege_separation),
        ("audit file", report.audit_file),
    ]
    lines = [_filled(f"{name:<13}", value) for name, value in rows if value is not None]
    lines += ["", *_tools(report.tools)] if report.tools else []
    for problem in report.problems:
        lines += ["", _filled("Problem: ", problem, hang=2)]
    return lines


def _certified(report: Report) -> str | None:
    if report.certificate_believed is None:
        return None
    left = report.certificate_days_left or 0
    return f"{report.certificate_believed}, " + (
        f"{left} days left" if left >= 0 else f"ENDED {-left} days ago"
    )


def _in_halves(fingerprint: str) -> str:
    half = len(fingerprint) // 2 + 1
    return f"{fingerprint[:half]} {fingerprint[half:]}"


def _tools(tools: list[ToolReport]) -> list[str]:
    full, usable = sum(tool.in_full for tool in tools), sum(tool.usable for tool in tools)
    if full == len(tools):
        return [f"All {full} tools are usable everywhere and in full."]
    in_part, not_at_all = usable - full, len(tools) - usable
    head = f"Of {len(tools)} tools {full} are usable in full, {in_part} in part, {not_at_all} not."
    rows = [line for tool in tools for line in _row(tool)]
    told = " ".join(rows)
    words = [_filled(f"{word:<11}", meaning) for word, meaning in GLOSSARY.items() if word in told]
    return [head, "", *rows, *([""] if words else []), *words]


def _row(tool: ToolReport) -> list[str]:
    head = f"{tool.name:<29}"
    if tool.in_full:
        return [f"{head}usable"]
    if not tool.usable:
        return _listed(f"{head}LACKS ", map(_said, tool.missing))
    limits = [
        (path, Reach(everywhere=everywhere, paths=frozenset(paths)))
        for everywhere, limited in ((False, tool.only_on), (True, tool.not_on))
        for path, paths in limited.items()
    ]
    told = [f"{_glossed(path)}{reach}" for path, reach in limits]
    return _listed(f"{head}usable ", [*told, *(f"lacks {_said(text)}" for text in tool.less)])


def _said(need: str) -> str:
    return need.replace("|", " or ")


def _glossed(path: str) -> str:
    """Name the variable of a path where the paths themselves do not say what they are for."""
    return next((f"{word} " for word in GLOSSARY if word in path), "")


def _listed(head: str, told: Iterable[str]) -> list[str]:
    """Put what is told into a column of its own, indented under where it begins."""
    first, *rest = told
    beside = " " * len(head)
    hang = len(head) + 2
    return [_filled(head, first, hang), *(_filled(beside, text, hang) for text in rest)]


def _filled(head: str, text: str, hang: int | None = None) -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * (len(head) if hang is None else hang),
        break_on_hyphens=False,
    )
