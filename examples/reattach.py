"""A worker is killed with SIGKILL in the middle of its task; the next process goes on with the same call.

    python examples/reattach.py

starts both processes. What was counted before the kill is not counted again.
"""

import asyncio
import subprocess
import sys
from functools import partial

from agentmesh import Agent, Context, Mesh, skill


class SurveyAgent(Agent):
    """Counts households."""

    @skill
    async def survey(self, villages: list[str], *, ctx: Context) -> dict[str, int]:
        """Count the households of each village."""
        found = {}
        for village in villages:
            found[village] = await ctx.once(village, partial(count, village))  # recorded: not run again
            await ctx.emit(f"{village}: {found[village]}\n")
        return found


async def count(village: str) -> int:
    print("counting", village, flush=True)
    if village == "梅家坞" and sys.argv[1] == "begin":
        await asyncio.sleep(3600)
    return 100 * len(village)


async def begin() -> None:
    async with Mesh("local://mesh") as mesh:
        await mesh.serve(SurveyAgent())
        call = await mesh.start("SurveyAgentTask", {"villages": ["龙井", "满觉陇", "梅家坞"]})
        print(call.id, flush=True)
        await call.result()


async def go_on(call_id: str) -> None:
    async with Mesh("local://mesh") as mesh:
        await mesh.serve(SurveyAgent())
        call = await mesh.attach(call_id)
        print(await call.result())
        async for event in call.events():  # what the lost attempt emitted is not shown any more
            print(f"attempt {event.attempt}: {event.type}")


def main() -> None:
    program = [sys.executable, __file__]
    with subprocess.Popen([*program, "begin"], stdout=subprocess.PIPE, text=True) as worker:  # noqa: S603
        assert worker.stdout
        call_id = worker.stdout.readline().strip()
        for line in worker.stdout:
            print("worker:", line.strip())
            if "梅家坞" in line:
                worker.kill()
    print("killed:", worker.returncode, flush=True)
    subprocess.run([*program, "go_on", call_id], check=True)  # noqa: S603


if len(sys.argv) == 1:
    main()
elif sys.argv[1] == "begin":
    asyncio.run(begin())
else:
    asyncio.run(go_on(sys.argv[2]))
