"""`kai init`: the custodian's home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaianalytics.cli.terminal import console, for_people, home_folder
from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys


@for_people
def init(
    contracts: Annotated[Path, typer.Option(help="The folder of data contracts.")] = Path("data_contracts"),
    sources: Annotated[Path, typer.Option(help="The folder of the sources that the contracts name.")] = Path("sources"),
) -> None:
    """Make the custodian's home (KAI_HOME, else .kai) with its keys, or bring an existing one's settings up to date."""
    home = Home.create(home_folder(), contracts, sources)
    if not Keys.exist(home):
        Keys.create(home)
    console.print(f"Home ready. Contracts from [bold]{contracts}[/], sources from [bold]{sources}[/].")
