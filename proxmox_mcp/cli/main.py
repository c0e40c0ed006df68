"""What can be typed after ``proxmox-mcp``, and what each word leads to.

Exit codes: 0 all went well; 1 something asked for did not work; 2 the settings or the command line
are wrong.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from proxmox_mcp import __version__
from proxmox_mcp.cli import serve, tools, tour
from proxmox_mcp.config import ConfigError, Settings, load

BAD_SETTINGS = 2

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
    given = _parsed(argv, out)
    flags = {
        "profile": given.profile,
        # Typed by a person, a path is meant from where they stand; a setting's must be absolute.
        "config": given.config and str(Path(given.config).expanduser().absolute()),
        "demo": "true" if given.demo else None,
    }
    given.flags = {name: value for name, value in flags.items() if value is not None}
    try:
        return int(given.command(given, out))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_SETTINGS


def _parsed(argv: Sequence[str], out: io.TextIOWrapper) -> argparse.Namespace:
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            return _parser().parse_args(argv)
    except SystemExit:  # --help and --version print, and end
        out.write(printed.getvalue())
        raise


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
    return parser


def _settings_flags(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--demo",
        action="store_true",
        default=False if default is None else default,
        help="use the built-in simulated cluster",
    )
    parser.add_argument("--profile", default=default, help="which profile of the settings")
    parser.add_argument("--config", default=default, metavar="FILE", help="a settings file")


def _serve(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    return serve.run(load(flags=given.flags), out)


def _tools(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    out.write(tools.listing(_without_connection(given), as_json=given.json))
    return 0


def _tour(given: argparse.Namespace, out: io.TextIOWrapper) -> int:
    if not given.live:
        return tour.run(None, {}, out)
    return tour.run(load(flags=given.flags), given.flags, out)


def _without_connection(given: argparse.Namespace) -> Settings:
    # What is on or off does not depend on the cluster, so nobody needs a login to see it.
    return load(flags=given.flags | {"demo": "true"})
