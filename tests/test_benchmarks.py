"""The bench's own parts that judge: budgets, arithmetic, the table, and jobs that must be done."""

import doctest
from pathlib import Path

import pytest

from benchmarks import bench, budgets, jobs, place, report, stall, startup, surface
from benchmarks.budgets import BUDGETS, Budget
from benchmarks.report import Figure, measured
from proxmox_mcp import simulator

ROOT = Path(__file__).parents[1]
README = ROOT / "benchmarks" / "README.md"


@pytest.mark.parametrize("module", [report, place, stall])
def test_the_examples_are_true(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type] # it is a module
    assert (failed, tried > 0) == (0, True)


def test_a_spread_is_half_the_distance_of_the_quartiles_as_a_part_of_the_median() -> None:
    figure = measured("call.https", [9.0, 10.0, 11.0, 10.0, 10.0], [5.0, 5.0])

    assert (figure.value, figure.yardstick, figure.ratio) == (10.0, 5.0, 2.0)
    assert figure.spread == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("key", "value", "yardstick", "verdict"),
    [
        ("call.simulator", 5.0, 2.5, "ok"),  # it adds 2.5 ms
        ("call.simulator", 5.0, 1.5, "over"),  # it adds 3.5 ms
        ("call.https", 3.0, 2.0, "ok"),  # 1.5 times
        ("call.https", 3.1, 2.0, "known"),
        ("burst.warm", 3.3, 2.0, "over"),
        ("surface.row", 110, None, "ok"),
        ("surface.row", 110.5, None, "over"),
        ("surface.wire", 99_999, None, ""),  # for orientation
    ],
)
def test_a_figure_is_held_against_its_budget(
    key: str, value: float, yardstick: float | None, verdict: str
) -> None:
    assert Figure(key=key, value=value, yardstick=yardstick).verdict == verdict


def test_a_figure_that_is_over_for_a_known_reason_passes_and_tells_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = Budget("something", "bytes", "value", 1, exact=True, why="because")
    monkeypatch.setitem(budgets.BUDGETS, "x", known)

    figure = Figure(key="x", value=2)

    assert figure.verdict == "known"
    assert report.lines(figure)[-1] == "    because"


def test_the_table_has_every_column_in_both_forms() -> None:
    figure = Figure(key="call.https", value=3.25, yardstick=2.5, spread=0.04)

    assert report.lines(figure)[0].split("  ")[0] == "read call, loopback HTTPS"
    assert report.markdown([figure]).splitlines()[-1] == (
        "| read call, loopback HTTPS | 3.25 ms | 2.50 ms | 1.30 x | ±4% | 1.50 x | ok |"
    )


def test_every_budget_is_explained_in_the_readme() -> None:
    text = " ".join(README.read_text("utf-8").split())

    assert [budget.name for budget in BUDGETS.values() if budget.name not in text] == []


def test_the_projects_readme_shows_every_figure_with_its_budget_and_none_over_it() -> None:
    text = (ROOT / "README.md").read_text("utf-8").partition("<!-- costs")[2]
    rows = [line.strip("|").split("|") for line in text.partition("<!-- /costs")[0].splitlines()]
    shown = {
        name.strip(): (limit.strip(), verdict.strip()) for name, *_, limit, verdict in rows[3:]
    }

    budgets_now = {Figure(key=key, value=0).cells()[0::5][:2] for key in BUDGETS}
    assert {(name, limit) for name, (limit, _) in shown.items()} == budgets_now
    assert {verdict for _, verdict in shown.values()} <= {"ok", "known", ""}


@pytest.mark.parametrize("job", jobs.JOBS, ids=lambda job: job.asked)
async def test_a_job_ends_with_the_right_cluster_and_with_fewer_calls(job: jobs.Job) -> None:
    played = await jobs.played(job)

    assert 0 < played.ours.calls < played.rest.calls
    assert 0 < played.ours.bytes < played.rest.bytes


async def test_a_job_that_was_not_done_is_no_figure() -> None:
    async def nothing(_: jobs.Ours) -> None:
        return

    start = jobs.JOBS[0]
    lazy = jobs.Job(start.asked, nothing, start.rest, start.done, start.prepare)

    with pytest.raises(RuntimeError, match="our tools did not do it"):
        await jobs.played(lazy)


async def test_a_recorded_answer_is_given_again_without_the_cluster() -> None:
    cluster = simulator.Cluster()
    adapter = place.Recorded(cluster)
    async with place.client_on(adapter) as client:
        first = await place.called(client, "proxmox_get_nodes")
        cluster.requests.clear()
        again = await place.called(client, "proxmox_get_nodes")

    assert (again, cluster.requests) == (first, [])


async def test_a_refused_call_is_no_figure() -> None:
    async with place.client_on(place.on(simulator.Cluster())) as client:
        with pytest.raises(RuntimeError, match="No guest"):
            await place.called(client, "proxmox_get_vm_status", vmid=999)


async def test_the_surface_counts_each_parameter_without_words() -> None:
    figures = {figure.key: figure.value for figure in await surface.figures()}

    assert figures["surface.bare"] == 0
    assert set(figures) == {key for key in BUDGETS if key.startswith("surface.")}


def test_what_only_a_call_needs_is_told_apart_by_its_name() -> None:
    assert [name for name in ("requests.adapters", "json", "proxmoxer") if bench_early(name)] == [
        "requests.adapters",
        "proxmoxer",
    ]


def bench_early(name: str) -> bool:
    return name.startswith(startup.LATER)


def test_the_parts_of_the_bench_are_those_of_the_budgets() -> None:
    parts = {word for keys in (*bench.EXACT, *bench.TIMED) for word in keys.split()}
    exact = {word for keys in bench.EXACT for word in keys.split()}

    assert parts == {key.partition(".")[0] for key in BUDGETS}
    assert exact == {key.partition(".")[0] for key, budget in BUDGETS.items() if budget.exact}
