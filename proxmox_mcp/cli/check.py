"""Does it work, and what is missing: one look at connection, certificate, login and rights.

Exit codes: 0 all of it works; 1 something does not; 2 there is no connection, or the settings are
bad. Nothing is changed on the cluster.
"""

import json
import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

import anyio
from anyio import to_thread

from proxmox_mcp import server
from proxmox_mcp.config import Settings
from proxmox_mcp.pve.errors import ProxmoxError
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.permissions import Permissions
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


@dataclass
class ToolReport:
    """Whether this token can use a tool."""

    name: str
    usable: bool
    missing: list[str] = field(default_factory=list)
    only_on: list[str] = field(default_factory=list)
    less: list[str] = field(default_factory=list)


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
    cluster = server.cluster_of(settings, adapter)
    connection = cluster.bridge.connection
    report = Report(connection.address, connection.identity, _origin(settings))
    pve = Pve(cluster)
    try:
        await pve.open()
        began = time.perf_counter()
        version = await pve.record(pve.version.get)
        report.latency_ms = round((time.perf_counter() - began) * 1000, 1)
        report.version = str(version["version"])
        report.clock_ahead_s = round(cluster.bridge.server_time() - time.time(), 1)
        held = Permissions(await pve.record(pve.access.permissions.get))
    except ProxmoxError as error:
        report.version = None
        report.problems.append(clean_line(error))
        return report
    report.privilege_separation = await _separation(pve, settings)
    if not settings.demo and adapter is None:
        await _certificate(settings, report)
    report.tools = [
        _judged(spec, held, float(".".join(report.version.split(".")[:2])))
        for spec in TOOLS
        if settings.policy.withholds(spec) is None
    ]
    await _trail(settings, report)
    if abs(report.clock_ahead_s) > CLOCK_SECONDS:
        report.problems.append(
            f"The cluster's clock and this machine's are {report.clock_ahead_s:g} s apart."
        )
    return report


def _origin(settings: Settings) -> str:
    names = ("token_value", "password")
    found = [settings.sources[name] for name in names if name in settings.sources]
    return next((place for place in found if place != "default"), "the simulated cluster")


async def _separation(pve: Pve, settings: Settings) -> str:
    """Say whether the token has rights of its own, as far as it may see that."""
    connection = settings.connection
    if connection is None or not connection.token_name:
        return "a password: all rights of its user" if connection else "simulated"
    user = pve.access.users(connection.user).token(connection.token_name)
    try:
        found = await pve.record(user.get)
    except ProxmoxError:
        return "unknown: seeing it takes User.Modify on /access/groups"
    return "on: it has only rights of its own" if found.get("privsep") else "off: all of its user's"


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
    report.certificate_days_left = int((shown.ends - time.time()) // 86_400)
    report.certificate_believed = _believed(settings)
    if report.certificate_days_left < DAYS_LEFT:
        report.problems.append(
            f"The certificate has {report.certificate_days_left} days left: renew it on the node."
        )


def _believed(settings: Settings) -> str:
    connection = settings.connection
    if connection and connection.fingerprint:
        return "pinned by its fingerprint"
    if connection and isinstance(connection.verify_ssl, str):
        return "by the authority in verify_ssl"
    return "by this machine" if connection and connection.verify_ssl else "NOT VERIFIED"


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
    return ToolReport(
        spec.name,
        verdict.usable,
        [need.text for need in verdict.missing],
        list(verdict.only_on),
        [need.text for need in verdict.less],
    )


# --- for people ------------------------------------------------------------------------------


def _lines(report: Report) -> list[str]:
    """Put a report into lines for people, at most 80 columns wide."""
    rows: list[tuple[str, Any]] = [
        ("host", report.address),
        ("login", report.token),
        ("from", report.login_from),
        ("version", report.version or "no connection"),
        ("latency", _with(report.latency_ms, "{} ms")),
        ("clock", _with(report.clock_ahead_s, "{:+} s against this machine's")),
        ("certificate", report.certificate_believed),
        ("fingerprint", report.fingerprint),
        ("", _with(report.certificate_days_left, "{} days left")),
        ("privsep", report.privilege_separation),
        ("audit file", report.audit_file),
    ]
    lines = [_filled(f"{name:<12}", str(value)) for name, value in rows if value is not None]
    lines += ["", *_tools(report)] if report.tools else []
    lines += ["", *(_filled("problem: ", text) for text in report.problems)] * bool(report.problems)
    return lines


def _with(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def _tools(report: Report) -> list[str]:
    fine = [tool for tool in report.tools if tool.usable and not (tool.only_on or tool.less)]
    lines = [f"{len(fine)} of {len(report.tools)} tools are usable everywhere and in full."]
    parts: tuple[tuple[str, Callable[[ToolReport], list[str]]], ...] = (
        ("missing", lambda tool: tool.missing),
        ("only on", lambda tool: tool.only_on),
        ("without", lambda tool: tool.less),
    )
    for tool in report.tools:
        if tool in fine:
            continue
        lines.append(f"{tool.name:<30}{'usable' if tool.usable else 'NOT USABLE'}")
        lines += [
            _filled(f"    {word}: ", "; ".join(told)) for word, of in parts if (told := of(tool))
        ]
    return lines


def _filled(head: str, text: str) -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
