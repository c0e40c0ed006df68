"""What is remembered: never older than a caller will have it, and asked for once for many."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from proxmox_mcp.pve.memory import Memory


class Cluster:
    """Answers with a number that grows, when it is let, and fails when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.lets = anyio.Event()

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.lets.wait()
        if self.fails:
            raise ConnectionError(number)
        return number


def still() -> float:
    """Return the time of a clock too coarse to move while a test runs."""
    return 7.0


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def reader(
    memory: Memory, cluster: Cluster, came: list[int | str], max_age: float = 0
) -> Callable[[], Coroutine[Any, Any, None]]:
    async def read() -> None:
        try:
            came.append((await memory.read("key", max_age, cluster))[0])
        except ConnectionError as error:
            came.append(f"failed {error}")

    return read


async def test_without_an_age_nothing_older_than_the_question_is_an_answer_on_any_clock(
    cluster: Cluster,
) -> None:
    cluster.lets.set()
    memory = Memory(still)

    assert [await memory.read("key", 0, cluster) for _ in range(3)] == [
        (1, False),
        (2, False),
        (3, False),
    ]
    assert await memory.read("key", 5, cluster) == (3, True)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_comes_while_a_request_is_under_way_gets_the_next_one_together(
    cluster: Cluster,
    fails: bool,  # noqa: FBT001 - a case
) -> None:
    came: list[int | str] = []
    read = reader(Memory(still), cluster, came)
    cluster.fails = fails

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        for _ in range(8):
            group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        cluster.lets.set()

    first, second = ("failed 1", "failed 2") if fails else (1, 2)
    assert came == [first] + [second] * 8
    assert cluster.asked == 2


async def test_a_failure_is_shared_and_not_kept(cluster: Cluster) -> None:
    came: list[int | str] = []
    read = reader(Memory(still), cluster, came, max_age=5)
    cluster.lets.set()
    cluster.fails = True
    await read()
    cluster.fails = False
    await read()
    await read()

    assert came == ["failed 1", 2, 2]


async def test_a_good_answer_outlives_a_later_failure_while_it_is_young(cluster: Cluster) -> None:
    memory = Memory(still)
    came: list[int | str] = []
    cluster.lets.set()
    await reader(memory, cluster, came)()
    cluster.fails = True
    await reader(memory, cluster, came)()
    await reader(memory, cluster, came, max_age=5)()

    assert came == [1, "failed 2", 1]


async def test_who_was_asking_may_go_away_and_the_next_one_asks(cluster: Cluster) -> None:
    came: list[int | str] = []
    read = reader(Memory(still), cluster, came)

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as leaving:
                leaving.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        cluster.lets.set()

    assert came == [2]
