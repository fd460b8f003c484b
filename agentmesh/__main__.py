"""`python -m agentmesh` is the command line."""

from agentmesh.cli.main import main

if __name__ == "__main__":
    main()
