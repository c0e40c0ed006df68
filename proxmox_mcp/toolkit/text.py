r"""Words from the cluster made safe to show: they are data, whoever wrote them.

Guest names, notes, tags, logs and command output are written by people and programs that the
reader of an answer need not trust. What has no business in them is taken out: control characters
and ANSI sequences (they drive terminals), bidirectional and invisible characters (they hide words
from people that a model still reads).
"""

import re
import secrets
from typing import Annotated

from pydantic import BeforeValidator

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, but for tab and newline
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"  # invisible, bidirectional
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # tag characters
    "\ud800-\udfff]"  # lone surrogates have no form in UTF-8
)
LINE_CHARACTERS = 2_000
TEXT_CHARACTERS = 20_000
"""Proxmox keeps no more than 8 KiB of notes, and a command's output is cut before."""


def clean(text: object) -> str:
    """Return *text* without what only a terminal or a hidden reader would act on."""
    return _UNSEEN.sub("", _ANSI.sub("", str(text).replace("\r\n", "\n")))


def clean_line(text: object) -> str:
    """Return *text* as one clean line of bounded length."""
    line = " ".join(clean(text).split("\n"))
    return line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]}…"


def clean_text(text: object) -> str:
    """Return clean text of bounded length, over several lines."""
    return shorten(clean(text), TEXT_CHARACTERS)[0]


def shorten(text: str, characters: int) -> tuple[str, int]:
    """Keep the beginning and the end of a long text; return it and how much was left out."""
    left_out = len(text) - characters
    if left_out <= 0:
        return text, 0
    head = characters // 2
    tail = characters - head
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[-tail:]}", left_out


def fenced(what: str, text: str) -> str:
    """Put untrusted text between marks that it cannot forge: their names are new each time."""
    tag = f"{what}-{secrets.token_hex(4)}"
    return f"<{tag}>\n{text}\n</{tag}>"


Line = Annotated[str, BeforeValidator(clean_line)]
"""A result's field that holds one line of somebody else's words."""

Text = Annotated[str, BeforeValidator(clean_text)]
"""A result's field that holds somebody else's words, over several lines."""
