"""Who is there, seen from other processes, and across the death of a host."""

from local.kit import Program, Programs, until


async def test_registrations_are_seen_by_others_and_each_change_is_told_once(programs: Programs) -> None:
    watcher, one, two = [await programs.start(alone=False) for _ in range(3)]
    await watcher.do("begin", "watch")
    seen: list[list[str]] = []

    async def told(*expected: list[str]) -> None:
        seen.extend(expected)
        await until(lambda: _equal(watcher, seen))

    await one.do("register", "ATask")
    await told(["online", "ATask"])
    await two.do("register", "ATask")
    await two.do("register", "BTask")
    await told(["online", "BTask"])
    assert await watcher.do("alive") == ["ATask", "BTask"]
    await one.do("remove", "ATask")  # the other one still serves it
    two.kill()
    await until(lambda: _alive(watcher, []))
    await until(lambda: _count(watcher, 4))
    assert sorted((await watcher.do("changes"))[2:]) == [["offline", "ATask"], ["offline", "BTask"]]
    await one.do("remove", "ATask", everywhere=True)
    await until(lambda: _last(watcher, ["removed", "ATask"]))
    assert len(await watcher.do("changes")) == 5


async def _equal(watcher: Program, expected: list[list[str]]) -> bool:
    return await watcher.do("changes") == expected  # type: ignore[no-any-return]


async def _count(watcher: Program, expected: int) -> bool:
    return len(await watcher.do("changes")) == expected


async def _last(watcher: Program, expected: list[str]) -> bool:
    return (await watcher.do("changes"))[-1] == expected  # type: ignore[no-any-return]


async def _alive(watcher: Program, expected: list[str]) -> bool:
    return await watcher.do("alive") == expected  # type: ignore[no-any-return]


async def test_the_death_of_a_host_takes_nobody_offline(programs: Programs) -> None:
    watcher, one, two = [await programs.start(alone=False) for _ in range(3)]
    await watcher.do("begin", "watch")
    await one.do("register", "ATask")
    await two.do("register", "BTask")
    await until(lambda: _equal(watcher, [["online", "ATask"], ["online", "BTask"]]))
    for _ in range(2):
        await programs.killed_host()
        assert await watcher.do("alive") == ["ATask", "BTask"]
        assert await one.do("alive") == ["ATask", "BTask"]
    await programs.killed_host()
    two.kill()
    await until(lambda: _alive(watcher, ["ATask"]))
    await until(lambda: _last(watcher, ["offline", "BTask"]))
    assert len(await watcher.do("changes")) == 3


async def test_a_program_that_hosted_alone_is_online_for_the_first_newcomer(programs: Programs) -> None:
    one = await programs.start()
    await one.do("begin", "watch")
    await one.do("register", "ATask")
    two = await programs.start()
    assert await two.do("alive") == ["ATask"]
    await two.do("register", "BTask")
    await until(lambda: _last(one, ["online", "BTask"]))
    assert await one.do("changes") == [["online", "ATask"], ["online", "BTask"]]
