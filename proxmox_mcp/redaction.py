"""Secrets found and masked: in logs, in the audit trail, in whatever an assistant is shown.

Two things are masked: secrets that are known (this server's own login), wherever they stand; and
whatever looks like one, by the key it stands under or by its own form.

Rule 1: nothing here raises; a value that cannot be shown is replaced by words about it.
Rule 2: what cannot be told from a secret is masked: too much hidden is a nuisance, too little is a
leak.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"

_SECRET_KEY = re.compile(
    r"passw|passphrase|secret|ticket|authorization|csrf|cookie|sshkey|credential"
    r"|(private|api)[-_]?key|target[-_]endpoint|(^|[-_])(token|token[-_]value|otp)$",
    re.IGNORECASE,
)
# Every repetition has an end or a fixed beginning: a long blob without blanks must not take time
# that grows with its square.
_FULL_ID = r"(?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,64}![\w.-]{1,64}"
_QUOTE = r"\\*['\"]"  # a repr inside a repr, or JSON inside JSON, has backslashes before it
_PATTERNS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(PVEAPIToken\s*[=:]\s*)[^\s'\",;]+", rf"\1{MASK}"),
        (rf"(\bauthorization(?:{_QUOTE})?\s*[:=]\s*b?(?:{_QUOTE})?)[^'\"\r\n]+", rf"\1{MASK}"),
        (rf"(cookie(?:{_QUOTE})?\s*[:=]\s*b?(?:{_QUOTE})?)[^'\"\r\n]+", rf"\1{MASK}"),
        (rf"(csrf\w{{0,32}}(?:{_QUOTE})?\s*[:=]\s*b?(?:{_QUOTE})?)[^\s'\",;]+", rf"\1{MASK}"),
        # tickets, plain and as they stand in a cookie
        (r"\b(P(?:VE|MG|BS)\w{0,16}:)[^\s:'\"]+@[^\s:'\"]+:[^\s'\",;]+", rf"\1{MASK}"),
        (r"\b(P(?:VE|MG|BS)\w{0,16}%3A)[^\s'\",;&]+", rf"\1{MASK}"),
        # full tokens, with = as PVE writes them and with : as PBS does
        (rf"({_FULL_ID}=)[^\s'\",;&]+", rf"\1{MASK}"),
        (rf"({_FULL_ID}:)[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}", rf"\1{MASK}"),
        # key=value and 'key': 'value', as bodies and reprs print them; prose after a colon stays
        (
            (
                r"(passw(?:or)?d|token_value|secret|otp|ticket|sshkeys|target-endpoint)"
                rf"((?:{_QUOTE})?\s*=\s*|{_QUOTE}\s*:\s*|:\s*(?={_QUOTE}))"
                r"\\*(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[^\s,;&)}\]]+)"
            ),
            rf"\1\2{MASK}",
        ),
        (r"(?<=://)[^/\s@:'\"]+:[^/\s@'\"]+(?=@)", MASK),
    )
)
# What people write into notes, and programs into logs: prose after a colon, and forms that are
# secrets wherever they stand. Not looked for in our own log lines, whose prose must stay readable.
_PRIVATE_KEY: Final = (
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}KEY-----|$)"
)
_WRITTEN: Final = (
    (re.compile(_PRIVATE_KEY, re.DOTALL), MASK),
    (
        re.compile(
            r"\b((?:pass(?:word|wd|phrase)?|pwd|secret|token|api[-_ ]?key)\b\W{0,3}[:=]\s{0,5})"
            r"(?!\*\*\*)[^\s,;]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    (
        re.compile(
            r"\b(?:gh[pousr]_\w{20,255}|github_pat_\w{20,255}|glpat-[\w-]{20,255}|xox[abprs]-[\w-]{10,255}"
            r"|AKIA[0-9A-Z]{16}|sk-[\w-]{20,255}|eyJ[\w-]{10,2000}\.[\w-]{10,2000}\.[\w-]{10,2000})"
        ),
        MASK,
    ),
    (re.compile(r"\$(?:1|2[aby]|5|6|y|7)\$[./A-Za-z0-9$=,]{20,200}"), MASK),
)
_SHORTEST: Final = 15  # what is a secret by its own form alone, such as xoxb-0123456789
_DEEPEST: Final = 8  # a structure that contains itself ends here
_WIDEST_INT: Final = 1024  # bits; Python refuses to print very long integers


class Redactor:
    """Turns any value into plain JSON data without secrets; never raises."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # shorter ones would blacken half of every line
        known = {secret for secret in secrets if len(secret) >= 4}  # noqa: PLR2004
        forms = {
            form(secret)
            for secret in known
            for form in (str, quote_plus, lambda s: quote(s, safe=""), lambda s: repr(s)[1:-1])
        }
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """Mask known secrets first, then whatever looks like one."""
        text = self.known(text)
        # most keys and values hold no pair; passing them by makes a line three times cheaper
        if not _pairs(text):
            return text
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def value(self, value: object, *, depth: int = 0) -> Any:
        """Mask by key at any depth and by content in every text."""
        match value:
            case None | bool():
                return value
            case int() | float():
                return self._number(value)
            case Mapping() | list() | tuple() | set() | frozenset() if depth >= _DEEPEST:
                return "<too deep>"
            case Mapping():
                return self._mapping(value, depth)
            case list() | tuple() | set() | frozenset():
                return [self.value(item, depth=depth + 1) for item in value]
        return self.text(shown(value))

    def written(self, text: str) -> str:
        """Mask also what only looks like a secret in the words of people and programs."""
        if len(text) < _SHORTEST and not _pairs(text):
            return self.known(text)  # names, states and tags, of which a list has thousands
        for pattern, replacement in _WRITTEN:
            text = pattern.sub(replacement, text)
        return self.text(text)

    def known(self, text: str) -> str:
        """Mask this server's own secrets, and nothing else."""
        return self._known.sub(MASK, text) if self._known else text

    def answer(self, data: Any, mask: Callable[[str], str], *, hidden: bool = False) -> Any:
        """Mask the texts of data that has a shape to keep, and all texts below a telling key.

        Args:
            data: Plain data, as JSON has it.
            mask: How a text is masked by what it says: ``written`` or ``known``.
            hidden: Whether a key has told already.
        """
        match data:
            case Mapping():
                telling = mask != self.known
                return {
                    key: self.answer(value, mask, hidden=hidden or (telling and _telling(key)))
                    for key, value in data.items()
                }
            case list():
                return [self.answer(each, mask, hidden=hidden) for each in data]
            case str() if data:
                return MASK if hidden else mask(data)
        return data

    def _number(self, value: float) -> float | str:
        if isinstance(value, int) and value.bit_length() > _WIDEST_INT:
            return f"<integer of {value.bit_length()} bits>"
        shown = str(value)
        clean = self.text(shown)  # a one-time password may well be a number
        is_json = value - value == 0  # nan and the infinities are none
        return value if is_json and clean == shown else clean

    def _mapping(self, mapping: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        clean = dict[str, Any]()
        for key, value in mapping.items():
            name = self.text(shown(key))
            hidden = _telling(name) and not isinstance(value, bool | None)
            clean[name] = MASK if hidden else self.value(value, depth=depth + 1)
        return clean


def _pairs(text: str) -> bool:
    """Whether there may be a key and a value in it; without them no pattern finds anything."""
    return ":" in text or "=" in text or "%3" in text


@functools.lru_cache(maxsize=1024)
def _telling(key: str) -> bool:
    """Whether a key says that its value is secret; the same few are asked for all the time."""
    return bool(_SECRET_KEY.search(key))


def shown(value: object) -> str:
    """Return any value as text, even one that refuses to be shown."""
    try:
        if isinstance(value, bytes | bytearray):
            return value.decode("utf-8", "backslashreplace")
        return str(value)
    except Exception:  # noqa: BLE001  a broken __str__ must not cost the line
        return f"<{type(value).__name__} that cannot be shown>"
