"""Figures: made, held against their budgets, and laid out as a table or as Markdown."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.budgets import BUDGETS, Budget

Verdict = Literal["ok", "over", "known", ""]
"""``known``: over its budget, for a reason that stands beside the budget."""

HEAD = ("what", "value", "yardstick", "ratio", "spread", "budget", "")
FORM = "{:<44} {:>17} {:>17} {:>8} {:>7} {:>12}  {}"
CLOSE = 10
"""From here on a figure needs no decimals."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row: a value, and what it was compared with in the same run.

    Attributes:
        key: Which budget it is held against.
        value: The median of what was measured.
        yardstick: What it is compared with; None where it stands for itself.
        spread: Half the distance between the quartiles, as a part of the value; None where exact.
        note: What one should know of it.
    """

    key: str
    value: float
    yardstick: float | None = None
    spread: float | None = None
    note: str = ""

    @property
    def budget(self) -> Budget:
        """What it may be."""
        return BUDGETS[self.key]

    @property
    def ratio(self) -> float | None:
        """How many times its yardstick it is.

        >>> Figure(key="call.https", value=3, yardstick=2).ratio
        1.5
        """
        return self.value / self.yardstick if self.yardstick else None

    @property
    def held(self) -> float | None:
        """What of it is held against the budget."""
        match self.budget.held:
            case "value":
                return self.value
            case "ratio":
                return self.ratio
            case "added":
                return self.value - (self.yardstick or 0)
            case _:
                return None

    @property
    def verdict(self) -> Verdict:
        """How it stands to its budget."""
        if self.held is None:
            return ""
        if self.held <= self.budget.at_most:
            return "ok"
        return "known" if self.budget.why else "over"

    def cells(self) -> tuple[str, ...]:
        """Write it as a row of the table."""
        budget = self.budget
        limit = {"ratio": "{} x", "added": "+ {} " + budget.unit, "value": "{}", "shown": ""}
        return (
            budget.name,
            f"{number(self.value)} {budget.unit}",
            "" if self.yardstick is None else f"{number(self.yardstick)} {budget.unit}",
            "" if self.ratio is None else f"{self.ratio:.2f} x",
            "exact" if self.spread is None else f"±{self.spread:.0%}",
            limit[budget.held].format(number(budget.at_most)),
            self.verdict,
        )


def number(value: float) -> str:
    """Write a figure with as many decimals as it deserves.

    >>> number(856.71), number(0.523), number(2)
    ('857', '0.52', '2')
    """
    return f"{value:,.0f}" if value >= CLOSE or value == int(value) else f"{value:.2f}"


def median(values: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Return half the distance between the quartiles, as a part of the median.

    >>> spread([9, 10, 11])
    0.1
    """
    middle = median(values)
    if len(values) < 2 or not middle:  # noqa: PLR2004 - one value has no spread
        return 0.0
    lower, _, upper = statistics.quantiles(values, n=4)
    return (upper - lower) / 2 / middle


def measured(key: str, values: Sequence[float], yardstick: Sequence[float] = ()) -> Figure:
    """Make a figure of interleaved rounds."""
    return Figure(
        key=key,
        value=median(values),
        yardstick=median(yardstick) if yardstick else None,
        spread=spread(values),
    )


def table(figures: Iterable[Figure]) -> str:
    """Lay figures out for a terminal."""
    return "\n".join(line for figure in figures for line in lines(figure))


def lines(figure: Figure) -> list[str]:
    """Lay one figure out; its note stands below it."""
    row = FORM.format(*figure.cells()).rstrip()
    said = [figure.note, figure.budget.why if figure.verdict == "known" else ""]
    return [row, *(f"    {words}" for words in said if words)]


def heading() -> str:
    """Lay the names of the columns out."""
    return FORM.format(*HEAD).rstrip()


def markdown(figures: Iterable[Figure]) -> str:
    """Lay figures out as a table in Markdown."""
    rows = [(*HEAD[:-1], "verdict"), ("---",) * len(HEAD), *(each.cells() for each in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
