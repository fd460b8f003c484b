"""`agentmesh eval`: how well something works, on anyone's own data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agentmesh.cli import options

if TYPE_CHECKING:
    from agentmesh.catalog.evaluation import Figures

EPILOG = """[bold]Examples[/bold]
  agentmesh eval discovery --catalog cards.jsonl --queries queries.jsonl
  agentmesh eval discovery --catalog cards.jsonl --queries queries.jsonl --embedder none --json
  agentmesh eval discovery --catalog cards.jsonl --queries queries.jsonl --shuffled

Both files are JSON lines. Of the catalog: id, name, description and, if there are, params, tags, examples. Of the
queries: id, text and relevant, the ids of the cards that answer it. ABSTENTION is how well the queries are told from
the same queries with their answers taken out of the catalog (F1)."""

app = typer.Typer(help="Measure, on data of one's own.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Makes `discovery` a command of its own, not all there is."""


@app.command(epilog=EPILOG)
def discovery(
    catalog: Annotated[Path, typer.Option("--catalog", metavar="FILE", show_default=False, help="The cards.")],
    queries: Annotated[Path, typer.Option("--queries", metavar="FILE", show_default=False, help="The queries.")],
    embedder: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="As AGENTMESH_EMBEDDER: use, openai:MODEL, none."),
    ] = None,
    fields: Annotated[
        Literal["all", "name"], typer.Option(help="What is read of a card; name: its name and description alone.")
    ] = "all",
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="Give each id another's card: what is left of the figures is chance.")
    ] = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Measure the search for agents: hit@1, recall@5, recall@10, MRR, and silence where nothing fits."""
    from agentmesh.cli.logs import start_logging
    from agentmesh.cli.opening import finish

    start_logging("warning" if not verbose else "info" if verbose == 1 else "debug")

    async def measure() -> int:
        from agentmesh.catalog.evaluation import figures, outcomes, read_entries, read_queries, registrations
        from agentmesh.catalog.index import Index

        entries = read_entries(catalog)
        asked = read_queries(queries, entries)
        index = Index(*_embedding(embedder))
        await index.put(registrations(entries, fields, shuffled=shuffled))
        _show(figures(await outcomes(index, asked)), len(entries), as_json=as_json)
        return 0

    return finish(measure())


def _embedding(name: str | None) -> tuple[Any, Any]:
    """The embedder of the settings, and the cache."""
    from agentmesh.backends import cache_folder
    from agentmesh.catalog.cache import VectorCache
    from agentmesh.catalog.embedders import choose
    from agentmesh.config import load_config

    config = load_config(embedder=name)
    chosen = choose(config.embedder, base_url=config.base_url, api_key=config.api_key)
    return chosen, VectorCache(cache_folder(config) / "vectors")


def _show(found: "Figures", cards: int, *, as_json: bool) -> None:
    import msgspec

    from agentmesh.cli.output import json_document, table

    if as_json:
        json_document({"cards": cards} | msgspec.to_builtins(found))
        return
    shares = (found.hit_1, found.recall_5, found.recall_10, found.mrr, found.abstention_f1)
    row = [cards, found.queries, *(f"{100 * share:.1f}" for share in shares)]
    table(("CARDS", "QUERIES", "HIT@1", "RECALL@5", "RECALL@10", "MRR", "ABSTENTION"), [row])
