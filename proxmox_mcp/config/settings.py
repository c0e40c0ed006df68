"""What comes out of the configuration: one frozen value, or one page of problems."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from platformdirs import user_state_dir
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from proxmox_mcp.logs import LogSettings
from proxmox_mcp.pve.connection import FROZEN, Connection, Limits
from proxmox_mcp.toolkit.policy import Policy


def _absolute(value: object) -> object:
    path = Path(value).expanduser() if isinstance(value, str | Path) else value
    if not isinstance(path, Path) or not path.is_absolute():
        raise ValueError("must be an absolute path: the working directory is the client's choice")
    return path


class Settings(BaseModel):
    """Everything the program is told from outside, checked."""

    model_config = FROZEN

    profile: str = "default"
    demo: bool = False
    demo_speed: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    audit_file: Annotated[Path | None, BeforeValidator(_absolute)] = None
    policy: Policy = Field(default_factory=Policy)
    connection: Connection | None = None  # None in demo mode only
    limits: Limits = Field(default_factory=Limits)
    log: LogSettings = Field(default_factory=LogSettings)
    sources: Mapping[str, str] = Field(default_factory=dict, repr=False)  # places, never values
    warnings: tuple[str, ...] = ()

    @property
    def trail(self) -> Path:
        """Where changes are written down; those on the simulated cluster stand in a file apart."""
        usual = Path(user_state_dir("proxmox-mcp", appauthor=False))
        return self.audit_file or usual / ("audit-demo.jsonl" if self.demo else "audit.jsonl")


class Problem(NamedTuple):
    """One thing to put right: the setting, where it came from, and what to do; no value."""

    setting: str
    place: str
    text: str

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.setting}{where}: {self.text}"


class ConfigError(Exception):
    """The settings cannot be used; `problems` holds every reason and `str()` is one page."""

    _HEAD = "The settings cannot be used:"

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join((self._HEAD, *(f"  - {problem}" for problem in self.problems))))


class NoCredentials(ConfigError):
    """Nobody has said yet which Proxmox to talk to, and nothing else is wrong."""

    _HEAD = "No Proxmox host and no login are configured yet:"


_SECONDS = frozenset({"timeout", "connect_timeout", "retry_delay", "retry_total"})
_SAID = {
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "string_type": "must be a quoted string",
    "dict_type": 'must be a table such as { https = "http://proxy:3128" }',
}


def problems_of(
    error: ValidationError, places: Mapping[str, str], *, prefix: str = ""
) -> list[Problem]:
    """Put pydantic's findings in our words, one for each setting, without the values."""
    found = dict[str, Problem]()
    for line in error.errors(include_url=False, include_input=False, include_context=False):
        setting = f"{prefix}{line['loc'][0]}" if line["loc"] else prefix
        text = _SAID.get(line["type"], line["msg"].removeprefix("Value error, "))
        text = re.sub(r"^Input should be", "must be", text)
        if line["type"] == "missing":
            text = f"is missing: give it in a file, or as PROXMOX_MCP_{setting.upper()}"
        unit = " (in seconds)" if setting in _SECONDS else ""
        found.setdefault(setting, Problem(setting, places.get(setting, ""), text + unit))
    return list(found.values())
