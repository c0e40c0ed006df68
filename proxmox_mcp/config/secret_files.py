"""Secrets that stand alone in a file, as systemd and Docker hand them over.

No sentence repeats a path before a file was found there: somebody may have put the secret itself
where its path belongs.
"""

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxmox_mcp.config import privacy
from proxmox_mcp.config.layers import STAND_IN, Given, Layer
from proxmox_mcp.config.names import SECRET_FILES
from proxmox_mcp.config.settings import Problem

MOST_BYTES: Final = 64 * 1024  # far above any secret, far below a log named by mistake


class _Unusable(Exception):
    """A sentence about a setting that names a file."""


@dataclass(slots=True, kw_only=True)
class SecretFiles:
    """Follows `token_value_file` and its like, and keeps what was wrong on the way."""

    mounts: tuple[Path, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def followed(self, layer: Layer) -> Layer:
        """Give this layer with the secrets themselves in place of their files."""
        plain = {setting: given for setting, given in layer.items() if setting not in SECRET_FILES}
        for setting, secret in SECRET_FILES.items():
            if setting not in layer:
                continue
            if secret in layer:
                text = f"stands beside {secret}: keep one of them"
                self.problems.append(Problem(setting, layer[setting].place, text))
            else:
                plain[secret] = self._secret(setting, layer[setting])
        return plain

    def _secret(self, setting: str, given: Given) -> Given:
        try:
            path = _path(given.value)
            secret = _read(path, self.mounts)
        except _Unusable as error:
            self.problems.append(Problem(setting, given.place, str(error)))
            return given._replace(value=STAND_IN)
        self.warnings += privacy.doubts(path)
        return given._replace(value=secret, place=f"file {path}, named by {given.place}")


def _path(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # ~somebody who is not there
        path = Path()
    if not path.is_absolute() or "\0" in text:
        raise _Unusable("must be an absolute path; ~ stands for your home folder")
    return path


def _read(path: Path, mounts: tuple[Path, ...]) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe might never end
            raise _Unusable("names something that is not a regular file")
        if fault := privacy.fault(path, mode, mounts):
            raise _Unusable(f"names a file that {fault}")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise _Unusable("names a file that does not exist") from None
    except OSError as error:
        raise _Unusable(f"names a file that cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise _Unusable(f"names a file of more than {MOST_BYTES} bytes, which is no secret")
    return _alone(data)


def _alone(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")  # Notepad writes the mark
    except UnicodeDecodeError:
        raise _Unusable("names a file that is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise _Unusable("names a file that is empty")
    return text
