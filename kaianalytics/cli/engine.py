"""`kai engine`: the installed DuckDB beside the one that the guard was reviewed for; an upgrade begins and ends here.

It looks at whatever version is installed, with no data and nobody's query; the gateway starts with the reviewed alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.attack.corpus import VIEWS, misjudged, one_of_each_shape
from kaianalytics.cli.terminal import console, for_people, table
from kaianalytics.gateway.guard import changes, reviewed
from kaianalytics.gateway.guard.admission import judged
from kaianalytics.gateway.guard.changes import Change
from kaianalytics.gateway.guard.engine import Engine

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The installed DuckDB beside the reviewed one.")

_TO_DO = {
    "version": "read its release notes; then pin it in pyproject.toml and name it as `engine` in reviewed.toml",
    "function": "new: put it into a family of reviewed.toml, or it stays refused; gone: take it out",
    "type": "new: put it into a family of reviewed.toml, or it stays refused; gone: take it out",
    "collation": "new: add it to reviewed.toml, or it stays refused; gone: take it out",
    "keywords": "new grammar: see what it means in a SELECT and add statements to the corpora; then `kai engine list`",
    "settings": "see whether a worker's lock must know it (gateway/workers/worker.py); then `kai engine list`",
    "views": "the guard lets no common table take its name; then `kai engine list`",
    "tree": "an unknown part is refused: admit it in grammar.py where it is harmless; then `kai engine list`",
    "statement": "a hostile one that is admitted is a hole: mend the guard first; then admit what ordinary ones need",
}


@app.callback()
def _engine() -> None:
    """The installed DuckDB beside the reviewed one."""


@app.command()
@for_people
def check(
    against: Annotated[Path | None, typer.Option(help="A folder with other reviewed.toml and listed.toml.")] = None,
) -> None:
    """Show what the installed DuckDB has that was not reviewed, judge every shipped statement anew, and say what to do.

    Ends with 1 while anything differs.
    """
    engine = Engine()
    known = reviewed.read(_text(against, reviewed.FILE))
    found = changes.changes(engine, known, changes.read_lists(_text(against, changes.FILE)), one_of_each_shape())
    wrong = list(misjudged(lambda sql: judged(engine, sql, VIEWS)))
    engine.close()
    console.print(f"DuckDB {engine.version} is installed. The guard was reviewed for v{known.engine}.", markup=False)
    if found:
        console.print(table(("what", "", "names"), _rows(found)))
    if wrong:
        console.print(table(("how many ", "what happened", "such as"), _grouped(wrong)))
    console.print(f"Every shipped statement was judged anew, {len(wrong)} of them wrongly.", markup=False)
    for sort in dict.fromkeys([*(change.sort for change in found), *(["statement"] if wrong else [])]):
        console.print(f"- {sort}: {_TO_DO[sort]}", markup=False, soft_wrap=True)
    if not found and not wrong:
        console.print("Nothing differs from what was reviewed.")
        return
    console.print("- at last: `python -m kaianalytics.gateway.guard.page > docs/reference/guard.md`, and `make test`")
    raise typer.Exit(1)


@app.command("list")
@for_people
def list_engine(
    to: Annotated[Path | None, typer.Option(help="The file to write; default: the guard's own.")] = None,
) -> None:
    """Write down the installed DuckDB's keywords, settings, views and tree parts, once their changes were looked at."""
    engine = Engine()
    lists = changes.lists_of(engine, one_of_each_shape())
    (to or changes.FILE).write_text(changes.written_lists(lists), encoding="utf-8")
    engine.close()
    console.print(f"Written: the lists of DuckDB {engine.version}.", markup=False)


def _text(folder: Path | None, file: Path) -> str:
    return (folder / file.name if folder else file).read_text(encoding="utf-8")


def _grouped(wrong: list[tuple[str, str]]) -> list[tuple[int, str, str]]:
    """What happened, holes first, each with how often and its first statement."""
    counted = Counter(what for _, what in wrong)
    first = {what: sql for sql, what in reversed(wrong)}
    holes_first = sorted(counted, key=lambda what: (not what.startswith("admitted"), what))
    return [(counted[what], what, first[what]) for what in holes_first]


def _rows(found: list[Change]) -> Iterator[tuple[str, str, str]]:
    for sort, new in dict.fromkeys((change.sort, change.new) for change in found):
        names = ", ".join(change.name for change in found if (change.sort, change.new) == (sort, new))
        yield sort, "new" if new else "gone", names
