"""What can be typed after ``proxmox-mcp``, and what each word leads to.

Exit codes: 0 all went well; 1 something asked for did not work; 2 the settings or the command line
are wrong, or there is no connection.

Each command's module is imported when it is asked for: a client that starts the server waits for
nothing that only another command needs. The settings are too: they bring the SDK, and a shell that
completes a word has no second to wait for it.
"""

import argparse
import gc
import io
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxmox_mcp import __version__
from proxmox_mcp.cli import init

if TYPE_CHECKING:
    from proxmox_mcp.config import Settings

BAD_SETTINGS = 2
PVE_VERSIONS = (8, 9)

SWITCHES = {
    "demo": "use the built-in simulated cluster",
    "read_only": "offer nothing that changes anything, and let no change leave",
    "dry_run": "let no change leave, and tell what would have been sent",
}
"""Settings that can be switched on by a flag alone."""

EPILOG = """\
Without a command it serves MCP over stdin and stdout, for a client such as Claude Code to start.
Try it on a simulated cluster: proxmox-mcp tour
"""


def run(argv: Sequence[str], out: io.TextIOWrapper) -> int:
    """Carry out one command line.

    Args:
        argv: The words after the command's name.
        out: The real stdout; what others print to ``sys.stdout`` leads elsewhere.
    """
    # Serving and calling write a log; elsewhere what goes wrong is said, and no line is wanted.
    logging.getLogger("proxmox_mcp").addHandler(logging.NullHandler())
    if argv[:1] == ["complete"]:  # what the scripts of shell-completion ask; in no list of commands
        from proxmox_mcp.cli import completion  # noqa: PLC0415

        return completion.answer(argv[1:], _parser(), out)
    given = _parsed(argv, out)
    flags = {
        "profile": given.profile,
        # Typed by a person, a path is meant from where they stand; a setting's must be absolute.
        "config": given.config and str(Path(given.config).expanduser().absolute()),
        **{name: "true" if getattr(given, name) else None for name in SWITCHES},
    }
    given.flags = {name: value for name, value in flags.items() if value is not None}
    from proxmox_mcp.config import ConfigError  # noqa: PLC0415

    if given.command is not _serve:  # it does so itself, once it is assembled
        gc.enable()
    try:
        return int(given.command(given, out))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_SETTINGS
    except ValueError as error:
        if type(error) is not ValueError:  # a defect, which keeps its traceback
            raise
        # A word on the command line that could be read no way.
        sys.stderr.write(f"proxmox-mcp: {error}\n")
        return BAD_SETTINGS


def _parsed(argv: Sequence[str], out: io.TextIOWrapper) -> argparse.Namespace:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            return _interspersed(_parser(), argv)
    except SystemExit:  # --help and --version print, and end
        out.write(printed.getvalue())
        raise


def _interspersed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse; the words of a call may stand between its flags, which argparse alone does not see."""
    given, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(given, "words") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    given.words = [*getattr(given, "words", ()), *rest]
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxmox-mcp",
        description="An MCP server for Proxmox VE.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"proxmox-mcp {__version__}")
    _settings_flags(parser, default=None)
    parser.set_defaults(command=_serve)
    commands = parser.add_subparsers(title="commands", metavar="")

    listing = commands.add_parser("tools", help="print the tools: effect, privilege, on or off")
    _settings_flags(listing, default=argparse.SUPPRESS)
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.set_defaults(command=_tools)

    walk = commands.add_parser("tour", help="watch a real client use the server, step by step")
    _settings_flags(walk, default=argparse.SUPPRESS)
    walk.add_argument("--live", action="store_true", help="on the configured cluster, reading only")
    walk.set_defaults(command=_tour)

    look = commands.add_parser("check", help="does it work, and which right is missing")
    _settings_flags(look, default=argparse.SUPPRESS)
    look.add_argument("--json", action="store_true", help="as JSON")
    look.set_defaults(command=_check)

    first = commands.add_parser("init", help="find a login, try it, and write the settings")
    init.add_arguments(first)
    first.set_defaults(command=init.run)

    rights = commands.add_parser("role", help="print the commands that make a token's role")
    _settings_flags(rights, default=argparse.SUPPRESS)
    rights.add_argument("--pve", type=int, choices=PVE_VERSIONS, help="its version; else both")
    rights.add_argument("--user", default="mcp@pve", help="the user to make (mcp@pve)")
    rights.add_argument("--token", default="mcp", help="the token's name (mcp)")
    rights.set_defaults(command=_role)
    _audit_commands(commands)
    _shell_commands(commands)
    return parser


def _audit_commands(commands: Any) -> None:
    trail = commands.add_parser("audit", help="read or verify what was changed")
    what = trail.add_subparsers(title="commands", metavar="", required=True)
    verify = what.add_parser("verify", help="find a changed, missing or reordered line")
    _settings_flags(verify, default=argparse.SUPPRESS)
    verify.set_defaults(command=_audit_verify)
    show = what.add_parser("show", help="print it as a table")
    _settings_flags(show, default=argparse.SUPPRESS)
    show.add_argument("--guest", help="only this guest, by id or name")
    show.add_argument("--since", help="only what is newer: 30m, 12h, 1d, 2w, or a date")
    show.add_argument("--json", action="store_true", help="as JSON lines")
    show.set_defaults(command=_audit_show)


def _shell_commands(commands: Any) -> None:
    calling = commands.add_parser(
        "call",
        help="call a tool: TOOL key=value ...; alone, list them",
        usage="proxmox-mcp call [flags] [TOOL [key=value ...]]",
        add_help=False,  # after a tool's name it is that tool's
    )
    calling.add_argument("words", nargs="*", metavar="TOOL key=value", help="and its arguments")
    calling.add_argument("-h", "--help", action="store_true", help="show what the tool takes")
    _settings_flags(calling, default=argparse.SUPPRESS)
    calling.add_argument("--json", action="store_true", help="as JSON")
    calling.add_argument("--yes", action="store_true", help="agree to what would be lost, unasked")
    calling.add_argument("--quiet", action="store_true", help="show no progress")
    calling.set_defaults(command=_call, usage=calling.format_help)

    completing = commands.add_parser("shell-completion", help="print a script for your shell")
    completing.add_argument("shell", choices=("bash", "zsh", "fish"))
    completing.set_defaults(command=_shell_completion)


def _settings_flags(parser: argparse.ArgumentParser, default: str | None) -> None:
    for name, words in SWITCHES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            action="store_true",
            default=False if default is None else default,
            help=words,
        )
    parser.add_argument("--profile", default=default, help="which profile of the settings")
    parser.add_argument("--config", default=default, metavar="FILE", help="a settings file")


def _load(flags: Mapping[str, str]) -> "Settings":
    from proxmox_mcp.config import load  # noqa: PLC0415

    return load(flags=flags)


def _serve(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import serve  # noqa: PLC0415

    return serve.run(_load(given.flags), out)


def _tools(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import tools  # noqa: PLC0415

    out.write(tools.listing(_without_connection(given), as_json=given.json))
    return 0


def _tour(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import tour  # noqa: PLC0415

    if not given.live:
        return tour.run(None, {}, out)
    return tour.run(_load(given.flags), given.flags, out)


def _check(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import check  # noqa: PLC0415

    return check.run(_load(given.flags), out, as_json=given.json)


def _role(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import role  # noqa: PLC0415

    versions = [given.pve] if given.pve else PVE_VERSIONS
    out.write(role.commands(_without_connection(given), versions, given.user, given.token))
    return 0


def _audit_verify(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import audit  # noqa: PLC0415

    return audit.verify(_trail(given), out)


def _audit_show(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import audit  # noqa: PLC0415

    file = _trail(given)
    try:
        return audit.show(file, out, guest=given.guest, since=given.since, as_json=given.json)
    except ValueError as error:  # of what was typed after --guest or --since
        sys.stderr.write(f"proxmox-mcp: {error}\n")
        return BAD_SETTINGS


def _call(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import manual  # noqa: PLC0415

    if not given.words:
        out.write(given.usage() if given.help else manual.listing(_without_connection(given)))
        return 0
    if given.help and (page := manual.page(given.words[0], _without_connection(given))):
        out.write(page)
        return 0

    from proxmox_mcp.cli import call  # noqa: PLC0415

    tool, *words = given.words
    wish = call.Wish(
        tool=tool, words=tuple(words), as_json=given.json, yes=given.yes, quiet=given.quiet
    )
    # A name that no tool has needs no login to be told so.
    settings = _without_connection(given) if given.help else _load(given.flags)
    return call.run(settings, wish, out)


def _shell_completion(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    from proxmox_mcp.cli import completion  # noqa: PLC0415

    out.write(completion.script(given.shell))
    return 0


def _trail(given: argparse.Namespace) -> Path:
    # Where it lies does not depend on a login either, but on whether the cluster is simulated.
    return _without_connection(given).model_copy(update={"demo": given.demo}).trail


def _without_connection(given: argparse.Namespace) -> "Settings":
    # What is on or off does not depend on the cluster, so nobody needs a login to see it.
    return _load(given.flags | {"demo": "true"})
