"""A newcomer's path: from a bare clone to the first answer, in the lines that the document has."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.environments import INSTALL_SECONDS
from tests.process.server_process import ROOT, environment

LINES = 4
GUIDE = ROOT / "docs" / "getting-started.md"


def typed() -> list[str]:
    section = (
        GUIDE.read_text(encoding="utf-8").partition("## From a clone")[2].partition("\n## ")[0]
    )
    return "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).strip().splitlines()


@pytest.mark.timeout(2 * INSTALL_SECONDS)
@pytest.mark.skipif(
    not (ROOT / ".git").exists() or not shutil.which("git") or not shutil.which("make"),
    reason="a clone is made of a repository, with git, and set up with make",
)
def test_a_newcomer_has_the_first_answer_after_four_typed_lines_at_most(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clone = tmp_path / "clone"
    cloning = [str(shutil.which("git")), "clone", "--quiet", str(ROOT), str(clone)]
    subprocess.run(cloning, check=True, timeout=60)  # noqa: S603 - git
    lines = typed()

    began = time.monotonic()
    ended = subprocess.run(  # noqa: S603 - what the document tells a newcomer to type
        [str(shutil.which("bash")), "-eu", "-c", "\n".join(lines)],
        env=environment(tmp_path),
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    record_property("seconds_from_a_bare_clone", round(time.monotonic() - began, 1))

    assert 1 <= len(lines) <= LINES
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "100 web-01" in ended.stdout
    assert "Every step answered as it should" in ended.stdout
