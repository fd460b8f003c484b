"""A drill: processes are started, hurt by a plan and started again; in the end everything that they wrote is judged."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple
from uuid import uuid4

import agentmesh
from agentmesh.cli.chaos.effects import Effects, read
from agentmesh.cli.chaos.faults import Process, faults_of, kill_all_of_ours
from agentmesh.cli.chaos.oracle import READER, Verdict, judge
from agentmesh.cli.chaos.plan import ANY_SERVER, Fault, make_plan
from agentmesh.cli.chaos.processes import CUT, DRAIN, MARK, Orders
from agentmesh.cli.chaos.sabotage import VARIABLE
from agentmesh.config import PREFIX, SETTINGS
from agentmesh.errors import MeshError

_JUDGE: Final = 1.5
_STEP: Final = 0.05
_BACK: Final = 0.02
_SETTLE: Final = 0.3
_REST: Final = 1.0
_HOST_REST: Final = 1.0
_WARM_CALLS: Final = 20
_SECRETS: Final = frozenset(each.env for each in SETTINGS if each.kind == "secret")


class Options(NamedTuple):
    """What a drill is to be. `like` asks for the faults of a sabotage, which are by themselves those of its own."""

    seconds: float
    seed: int
    mesh: str
    workers: int
    callers: int
    supervisors: int
    sabotage: str
    like: str = ""
    registries: tuple[str, ...] = ()
    servers: Path | None = None

    @property
    def names(self) -> dict[str, list[str]]:
        """The processes by their roles."""
        counts = {"worker": self.workers, "caller": self.callers, "supervisor": self.supervisors}
        return {role: [f"{role}-{number}" for number in range(count)] for role, count in counts.items()}


class Place:
    """The folder of a drill: what its processes write, and its mesh if that is nobody else's."""

    def __init__(self, mesh: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="agentmesh-chaos-"))
        self.effects = self.folder / "effects"
        self.effects.mkdir()
        self.mesh = mesh or f"local://{self.folder / 'mesh'}"

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Drill:
    """One drill, from `run` to its verdict. `on_progress` is called with a line about what is going on."""

    def __init__(self, options: Options, place: Place, on_progress: Callable[[str], None]) -> None:
        self._options = options
        self._place = place
        self._on_progress = on_progress
        self._faults = faults_of(place.mesh, options.servers)
        self._pace = self._faults.pace
        self._nursery: asyncio.subprocess.Process | None = None
        self._bearing = asyncio.Lock()
        self._hosting = asyncio.Lock()
        self._processes: dict[str, Process] = {}
        self._killed: set[str] = set()
        self._stopped: set[str] = set()
        self._rests: dict[str, float] = {}
        self._numbers: dict[str, int] = {}
        self._draining = False
        self._ends = 0.0
        self._found = asyncio.Event()
        self._effects = Effects(place.effects, "drill", 0)

    async def run(self) -> Verdict:
        """Hurt, mend, wait, look and judge. Whatever happens, nothing is left running."""
        os.environ[MARK] = uuid4().hex
        try:
            await self._open_nursery()
            for names in self._options.names.values():
                for name in names:
                    await self._bear(name)
            await self._warm_up()
            await self._hurt()
            await self._settle()
            if not self._found.is_set():
                await self._look_again()
            self._look_for_tracebacks()
        finally:
            kill_all_of_ours()
            if self._nursery:
                await self._nursery.wait()
            with contextlib.suppress(MeshError):
                await self._faults.sweep()
        return judge(self._place.effects, is_over=not self._found.is_set())

    async def _open_nursery(self) -> None:
        root = str(Path(agentmesh.__file__).parent.parent)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) or name in _SECRETS}
        kept["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [kept.get("PYTHONPATH", "")])])
        if self._options.sabotage:
            kept[VARIABLE] = self._options.sabotage
        errors = (self._place.effects / "nursery.err").open("ab")
        with errors:
            self._nursery = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "agentmesh.cli.chaos.nursery",
                *self._faults.modules,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=self._place.folder,
                env=kept,
                start_new_session=True,
            )
        await self._pid_from_nursery()

    async def _pid_from_nursery(self) -> int:
        assert self._nursery
        assert self._nursery.stdout
        line = await self._nursery.stdout.readline()
        if not line:
            told = (self._place.effects / "nursery.err").read_text(errors="replace")
            raise OSError(f"The processes of the drill cannot be started: {told.strip()[-500:]}")
        return int(line)

    async def _bear(self, name: str) -> None:
        """Start the process of that name, or the next one."""
        role = name.partition("-")[0]
        number = self._numbers[name] = self._numbers.get(name, -1) + 1
        others = self._options.names.get(role, [name])
        orders = Orders(
            role,
            name,
            number,
            self._place.mesh,
            str(self._place.effects),
            others,
            self._draining,
            self._options.registries,
            self._pace.lease,
        )
        assert self._nursery
        assert self._nursery.stdin
        async with self._bearing:
            self._nursery.stdin.write(json.dumps(orders._asdict()).encode() + b"\n")
            pid = await self._pid_from_nursery()
        with contextlib.suppress(ProcessLookupError):  # it is dead already, which the next look tells
            self._processes[name] = Process(pid)
            self._rests[name] = monotonic() + _REST

    async def _warm_up(self) -> None:
        """Let there be something to hurt, if that comes within some seconds."""
        until = monotonic() + self._pace.warm
        while monotonic() < until:
            await self._revive()
            if judge(self._place.effects, is_over=False).ended.total() >= _WARM_CALLS:
                return
            await asyncio.sleep(_SETTLE)

    # While it lasts

    async def _hurt(self) -> None:
        """Carry out the plan."""
        options = self._options
        deck = options.like or options.sabotage or self._pace.deck
        targets = options.names | {each: [each] for each in self._faults.servers}
        targets[ANY_SERVER] = list(self._faults.servers)
        plan = make_plan(options.seed, options.seconds, targets, deck, self._pace.interval, self._pace.cards)
        began = monotonic()
        self._ends = began + options.seconds
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(began))
            for fault in plan:
                await self._until(began + fault.at)
                if not self._found.is_set():
                    group.create_task(self._carry_out(fault))
            await self._until(self._ends)
            watch.cancel()

    def _is_over(self) -> bool:
        """Whether nothing is to be hurt any more: its time is over, or enough was found."""
        return self._found.is_set() or monotonic() > self._ends

    async def _until(self, when: float) -> None:
        """Wait for that time; not if something was found."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(when - monotonic()):
                await self._found.wait()

    async def _watch(self, began: float) -> None:
        """Bring back who died, and look from time to time what was done."""
        look_at = began + _JUDGE
        while True:
            await self._revive()
            await asyncio.sleep(_BACK)
            if monotonic() > look_at:
                verdict = await asyncio.to_thread(judge, self._place.effects, is_over=False)
                self._tell(f"{monotonic() - began:.0f} s", verdict)
                if self._options.sabotage and verdict.findings:
                    self._found.set()
                look_at = monotonic() + _JUDGE

    async def _revive(self) -> None:
        """Bring back who died, but for callers that have done all that they were to do."""
        for name, process in list(self._processes.items()):
            if process.is_alive():
                continue
            process.close()
            del self._processes[name]
            was_killed = name in self._killed
            self._killed.discard(name)
            if not was_killed:
                if any(line.word == "finished" for line in read(self._place.effects, name)):
                    continue
                self._effects.write("died", name)
            await self._bear(name)

    async def _carry_out(self, fault: Fault) -> None:
        if fault.target in self._faults.servers:
            async with self._hosting:
                done = not self._is_over() and await self._hurt_server(fault)
                await self._until(monotonic() + _HOST_REST)
        else:
            done = await self._hurt_process(fault)
        if done and fault.kind != "kill":
            self._effects.write("fault", fault.kind, fault.target)

    async def _hurt_server(self, fault: Fault) -> bool:
        match fault.kind:
            case "kill":
                at_once = await self._faults.kill(fault.target)
                if at_once:
                    self._effects.write("fault", "kill", fault.target)
                    await self._faults.restart(fault.target)
                return at_once
            case "stop":
                return await self._faults.stop(fault.target, fault.seconds)
            case "quota":
                return await self._faults.quota(fault.seconds)
            case _:
                return await self._split(fault.seconds)

    async def _split(self, seconds: float) -> bool:
        """One caller stays with the old host; the others go to the new one."""
        name = self._options.names["caller"][-1]
        stay = self._processes.get(name)
        if stay is None or name in self._stopped:
            return False
        self._stopped.add(name)

        def cut() -> None:
            for other, process in self._processes.items():
                if other != name:
                    process.send(CUT)

        try:
            return await self._faults.split(seconds, [stay], cut)
        finally:
            self._stopped.discard(name)

    async def _hurt_process(self, fault: Fault) -> bool:
        name = fault.target
        for _ in range(20):
            process = self._processes.get(name)
            if process and process.is_alive() and not self._is_last(name, fault):
                break
            await asyncio.sleep(_STEP)
        else:
            return False
        match fault.kind:
            case "kill":
                self._effects.write("fault", "kill", name)
                self._killed.add(name)
                process.send(signal.SIGKILL)
            case "cut":
                process.send(CUT)
            case _:
                self._stopped.add(name)
                process.send(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                process.send(signal.SIGCONT)
                self._stopped.discard(name)
                self._rests[name] = monotonic() + _REST
        return True

    def _is_last(self, name: str, fault: Fault) -> bool:
        """Whether it is stopped already, or would be one stop too many: one of each role goes on, and each for a while
        after a stop."""
        if fault.kind != "stop" or name in self._stopped:
            return name in self._stopped
        others = [other for other in self._options.names[name.partition("-")[0]] if other != name]
        return monotonic() < self._rests.get(name, 0) or (bool(others) and self._stopped.issuperset(others))

    # When it is over

    async def _settle(self) -> None:
        """Let everything go on, and wait until the callers have seen the end of what they began."""
        await self._faults.mend()
        self._draining = True
        began = changed = monotonic()
        last: tuple[int, int] = (0, 0)
        pace = self._pace
        while not self._found.is_set() and monotonic() < min(began + pace.patience, changed + pace.quiet):
            await self._revive()
            callers = [process for name in self._options.names["caller"] if (process := self._processes.get(name))]
            if not callers:
                return
            for process in callers:
                process.send(DRAIN)
            await asyncio.sleep(_SETTLE)
            verdict = await asyncio.to_thread(judge, self._place.effects, is_over=False)
            self._tell("settling", verdict)
            if self._options.sabotage and verdict.findings:
                self._found.set()
            now = (verdict.ended.total(), verdict.runs)
            if now != last:
                last, changed = now, monotonic()

    async def _look_again(self) -> None:
        """A process that was not there before looks at everything."""
        self._on_progress("looking at everything once more")
        await self._bear(READER)
        await self._processes[READER].wait(self._pace.look)

    def _look_for_tracebacks(self) -> None:
        """An exception that nobody expected is told, even if nothing came of it."""
        for path in sorted(self._place.effects.glob("*.err")):
            if "Traceback" in path.read_text(errors="replace"):
                self._effects.write("trouble", path.stem, "traceback")

    def _tell(self, when: str, verdict: Verdict) -> None:
        kills = sum(count for kind, count in verdict.faults.items() if kind.startswith("kill"))
        lag = verdict.started - verdict.ended.total()
        doubled = len(verdict.of("doubled"))
        self._on_progress(f"{when}: {verdict.started} calls, {lag} open, {kills} killed, {doubled} doubled")
