"""Whether memory grows over many calls: the soak, shorter. ``make soak`` has all 20,000 calls."""

from pathlib import Path

from benchmarks.report import Figure
from benchmarks.soak import resident_mib, soaked

CALLS, SECONDS = 3_000, 40.0


def timed(folder: Path) -> list[Figure]:
    """Make the calls of the soak and look at what the server has resident."""
    with soaked(folder) as soak:
        soak.run(CALLS, SECONDS)
        last, warm = resident_mib(soak.server.process.pid), soak.warm or 0.0
    wrong = f"; {soak.wrong.total()} wrong answers" if soak.wrong else ""
    note = f"{soak.sent:,} calls, {last:.0f} MiB at the end{wrong}"
    return [Figure(key="memory.growth", value=last - warm, spread=0.0, note=note)]
