"""Print the floor that the figures of `agentmesh bench` are compared with: `python benchmarks/floor.py`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("agentmesh.cli.bench.floor", run_name="__main__")
