"""Effects as a drill writes them, by hand."""

from pathlib import Path

from agentmesh.cli.chaos.oracle import Verdict, judge


class Files:
    """A folder of effects: `files["worker-0.00000"] = [line, …]`; times count by themselves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at = 1000

    def write(self, name: str, *lines: str, half: str = "", step: int = 1) -> None:
        text = ""
        for line in lines:
            self._at += step
            text += f"{self._at} {line}\n"
        with (self.folder / f"{name}.effects").open("a") as file:
            file.write(text + half)

    def judge(self, *, is_over: bool = True) -> Verdict:
        return judge(self.folder, is_over=is_over)

    def found(self) -> list[tuple[str, str]]:
        return [(finding.kind, finding.subject) for finding in self.judge().findings]

    def call(self, name: str = "c", *, ended: str = "completed n1") -> None:
        """A call that was started and ended as it should."""
        self.write("worker-0.00000", f"run {name} n1", f"acked {name} n1")
        self.write("caller-0.00000", f"intent {name}-1", f"acknowledged {name} {name}-1", f"ended {name} {ended}")
        self.write("reader.00000", f"ended {name} {ended}")

    def looked(self) -> None:
        self.write("reader.00000", "looked")
