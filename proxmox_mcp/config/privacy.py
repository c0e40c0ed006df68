"""Who else can get at a file that holds a secret: nobody may, or the file is refused.

Container mounts are the exception, and for reading only. Below /run/secrets Docker, Podman and
Kubernetes put secrets as 0444 or 0644, owned by root, on a mount that nobody inside can chmod;
the container is the wall there. systemd hands its credentials over in $CREDENTIALS_DIRECTORY,
where an ACL for the service's user shows as 0440 and the folder itself keeps others out. Anywhere
else an open mode is somebody's oversight.
"""

import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CAN_CHECK: Final = sys.platform != "win32"  # the modes there say nothing about who may read
_CONTAINER: Final = ("/run/secrets", "/var/run/secrets")
_SYSTEMD: Final = "CREDENTIALS_DIRECTORY"
_READ: Final = stat.S_IRGRP | stat.S_IROTH
_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def mounts(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Name the folders in which others may read a secret."""
    folders = (Path(text) for text in (*_CONTAINER, environ.get(_SYSTEMD, "")))
    return tuple(folder.resolve() for folder in folders if folder.is_absolute())


def fault(path: Path, mode: int, mounts: tuple[Path, ...]) -> str | None:
    """Say what is wrong with the *mode* of a file that holds a secret."""
    # Kubernetes' files are links within their mount; a link that leads out of it excuses nothing.
    is_mounted = any(path.resolve().is_relative_to(folder) for folder in mounts)
    if not _CAN_CHECK or not mode & (_WRITE if is_mounted else _READ | _WRITE):
        return None
    return f"holds a secret and others can read or change it; run: chmod 600 {_quoted(path)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def doubts(path: Path) -> list[str]:
    """Admit it where nothing could be checked."""
    if _CAN_CHECK:
        return []
    text = "holds a secret and who may read it was not checked, since Windows has no such modes"
    return [f"{path} {text}"]
