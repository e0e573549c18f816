"""`kai contracts`: check a folder of data contracts, and draft a contract for a source.

`check` shows every fault with file and line and exits with 1, or the tables of who may use what, of how statistics may
be asked, and of how much leaves as rows. `plan` compares the folder with what is served. `init` drafts a contract that
grants nothing: it reads the source's schema and asks for unit, keys, classifications and bounds. Bounds are answered by
a person; a source's values are never read for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.table import Table

from kaianalytics.cli.terminal import console, for_people, open_home, table
from kaianalytics.custody.contracts import CONTRACT_SUFFIX, PURPOSES, load, load_purposes
from kaianalytics.custody.drafting import STRICTEST, Answers, Bounds, DraftColumn, Unit, draft_contract
from kaianalytics.errors import ContractFaults, PolicyRefused
from kaianalytics.policy.changes import changes
from kaianalytics.policy.contract import Classification, Contracts, DataContract
from kaianalytics.policy.purpose import Population
from kaianalytics.warehouse.published import current
from kaianalytics.warehouse.sources import read_schema

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Data contracts: check a folder of them, draft a new one."
)

_FOLDER = Path("data_contracts")
_CLASSIFICATIONS: tuple[Classification, ...] = get_args(Classification)
_RANGED = ("integer", "number", "date", "timestamp")


@app.command()
@for_people
def check(folder: Annotated[Path, typer.Argument(help="The folder of contracts.")] = _FOLDER) -> None:
    """Show every fault of the contracts, with file and line, or who may use what."""
    try:
        contracts = load(folder)
    except ContractFaults as faults:
        _show_faults(faults)
        raise typer.Exit(1) from None
    console.print(_grants(contracts))
    console.print(_terms(contracts))
    console.print(_leaving(contracts))
    products = len(contracts.products)
    console.print(f"{products} contracts without a fault. Open purposes: {', '.join(contracts.purposes.open)}.")


@app.command()
@for_people
def plan(folder: Annotated[Path, typer.Argument(help="The folder of contracts.")] = _FOLDER) -> None:
    """Show who gains and who loses what once a build is made of these contracts, compared with the published build."""
    found = changes(load(current(open_home().stores).contracts_folder), load(folder))
    console.print(table(("whose", "product", "", "what"), (list(vars(change).values()) for change in found)))
    console.print(f"{len(found)} changes. They take effect with the next `kai build`." if found else "No change.")


@app.command()
@for_people
def init(
    source: Annotated[str, typer.Argument(help="A Parquet or CSV file, or file.duckdb#table.")],
    product: Annotated[str | None, typer.Option(help="The product's name; default: the file's or table's.")] = None,
    title: Annotated[str | None, typer.Option(help="The product's title for people.")] = None,
    unit: Annotated[str | None, typer.Option(help="COLUMN=POPULATION: whose data it is.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="COLUMN=DOMAIN, once per key.")] = None,
    classify: Annotated[list[str] | None, typer.Option(help="COLUMN=CLASSIFICATION, once per column.")] = None,
    bounds: Annotated[list[str] | None, typer.Option(help="COLUMN=MIN:MAX or COLUMN=MIN:MAX:STEP.")] = None,
    primary_key: Annotated[str, typer.Option(help="The column that no two rows agree in.")] = "",
    rows: Annotated[int | None, typer.Option(help="How many rows one unit may have in statistics.")] = None,
    folder: Annotated[Path, typer.Option(help="The folder of contracts to write it into.")] = _FOLDER,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; what is not answered is denied.")] = False,
) -> None:
    """Draft a contract that grants nothing, from a source's schema."""
    columns = [DraftColumn(each.name, each.type, each.logical, each.nullable) for each in read_schema(source)]
    name = product or _product_name(source)
    target = folder / f"{name}{CONTRACT_SUFFIX}"
    _refuse_overwriting(target)
    given = _Given(columns, _pairs("--key", key), _pairs("--classify", classify), _pairs("--bounds", bounds))
    if not yes:
        unit = unit or given.ask_unit()
    chosen_unit = _unit(unit, folder)
    if not yes:
        given.ask(chosen_unit)
    answers = Answers(
        title=title or name.replace("_", " ").capitalize(),
        source=Path(source).name,
        format="duckdb" if "#" in source else "csv" if source.lower().endswith(".csv") else "parquet",
        unit=chosen_unit,
        keys=given.keys,
        classifications=given.classifications(),
        bounds=given.bounds(),
        primary_key=primary_key,
        rows=rows,
    )
    text = draft_contract(name, columns, answers)
    folder.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
    console.print(f"Drafted [bold]{target}[/]. It grants nothing yet.", soft_wrap=True)
    console.print(f"Edit it, then `kai contracts check {folder}`.", soft_wrap=True)


class _Given:
    """The answers so far: from the options first, then from the questions."""

    def __init__(
        self,
        columns: list[DraftColumn],
        keys: dict[str, str],
        classes: dict[str, str],
        bounds: dict[str, str],
    ) -> None:
        self.columns = [column for column in columns if column.describable]
        self.keys = keys
        self._classes = classes
        self._bounds = bounds

    def ask_unit(self) -> str:
        """Whose data it is, as `column=population`; empty for data about nobody."""
        listed = ", ".join(column.name for column in self.columns)
        console.print(f"Columns: {listed}", markup=False)
        column = typer.prompt("Which column names the person whose data it is (empty: none does)", default="")
        return f"{column}={typer.prompt('Population it belongs to', default='customers')}" if column else ""

    def ask(self, unit: Unit | None) -> None:
        """Ask about every column what was not answered by an option."""
        for column in self.columns:
            if column.name not in self.keys and column.name not in self._classes:
                self._ask_classification(column, is_unit=unit is not None and unit.column == column.name)
            ranged = column.logical in _RANGED and column.name not in self.keys
            if ranged and column.name not in self._bounds:
                self._ask_bounds(column)

    def classifications(self) -> dict[str, Classification]:
        """The classifications as answered; PolicyRefused for a word that is none."""
        return {column: _classification(word) for column, word in self._classes.items()}

    def bounds(self) -> dict[str, Bounds]:
        """The bounds as answered; PolicyRefused for what is no range."""
        return {column: _bounds(column, text) for column, text in self._bounds.items()}

    def _ask_classification(self, column: DraftColumn, *, is_unit: bool) -> None:
        words = "key" if is_unit else typer.prompt(
            f"{column.name} ({column.physical}): {', '.join(_CLASSIFICATIONS)}", default=STRICTEST
        )  # fmt: skip
        if words == "key":
            self.keys[column.name] = typer.prompt(f"{column.name}: key domain, such as customer")
        else:
            self._classes[column.name] = words

    def _ask_bounds(self, column: DraftColumn) -> None:
        question = f"{column.name} ({column.physical}): smallest:largest value you allow, or smallest:largest:step"
        if answer := typer.prompt(f"{question} (empty: none)", default="", show_default=False):
            self._bounds[column.name] = answer


def _show_faults(faults: ContractFaults) -> None:
    for fault in faults.faults:
        console.print(str(fault), style="red", markup=False, soft_wrap=True)
    count = len(faults.faults)
    console.print(f"{count} fault{'' if count == 1 else 's'}. Nothing is built from contracts with a fault.")


def _grants(contracts: Contracts) -> Table:
    opened = contracts.purposes.open
    rows = ([name, *(_access(product, purpose) for purpose in opened)] for name, product in contracts.products.items())
    return table(("product", *opened), rows)


def _access(product: DataContract, purpose: str) -> str:
    rule = product.purposes.get(purpose)
    if rule is None:
        return "–"
    basis = "" if rule.basis.kind == "notified" else f"\nif granted: {rule.basis.key}"
    return ", ".join(sorted(rule.access)) + basis


def _terms(contracts: Contracts) -> Table:
    """How statistics may be asked of each product that some purpose grants them of."""
    asked = [p for p in contracts.products.values() if any("statistics" in r.access for r in p.purposes.values())]
    columns = ("statistics of", "one unit adds", "profile", "joins", "pre-aggregates")
    return table(columns, (_term(product, contracts.products) for product in asked))


def _term(product: DataContract, products: Mapping[str, DataContract]) -> tuple[str, ...]:
    known = f"{product.profile.units:,} units" if product.profile else "–"
    joins = {name.rpartition(".")[0] for column in product.columns for name in column.references}
    made = ", ".join(rule.name for rule in product.pre_aggregates)
    return product.product, _most(product), known, ", ".join(sorted(joins & set(products))) or "–", made or "–"


def _most(product: DataContract) -> str:
    bounds = product.contribution
    if bounds is None:
        return "about nobody"
    said = [f"{_count(bounds.groups, 'group')} × {_count(bounds.rows_per_group, 'row')}"] if bounds.groups else []
    said += [_count(bounds.rows, "row")] if bounds.rows else []
    return "; ".join(said) + (f" a {product.windows.span}" if product.windows else "")


def _leaving(contracts: Contracts) -> Table:
    """How much leaves as rows of each product that some purpose has as rows."""
    given = [p for p in contracts.products.values() if any("rows" in r.access for r in p.purposes.values())]
    columns = ("rows of", "one answer, rows ", "bytes ", "one day, rows ", "bytes ")
    return table(columns, ((p.product, *(f"{cap:,}" for cap in vars(p.rows_caps).values())) for p in given))


def _count(number: int | None, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _product_name(source: str) -> str:
    file, _, table_name = source.partition("#")
    return (table_name.rpartition(".")[2] or Path(file).stem).lower().replace("-", "_").replace(" ", "_")


def _refuse_overwriting(target: Path) -> None:
    if target.exists():
        raise PolicyRefused(
            "CONTRACT_EXISTS",
            f"{target.name} is there already.",
            rule="a draft replaces no contract",
            hint="choose another --product or --folder, or edit the contract",
        )


def _unit(text: str | None, folder: Path) -> Unit | None:
    if not text:
        return None
    [(column, population)] = _pairs("--unit", [text]).items()
    root = _population(population, folder)
    return Unit(column, population, f"{root.product}.{root.key}" if root else "")


def _population(name: str, folder: Path) -> Population | None:
    """The population as the folder's purposes.yaml states it; None in a folder that has none yet."""
    registry = folder / PURPOSES
    return load_purposes(registry).populations.get(name) if registry.is_file() else None


def _pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts or ():
        column, sign, value = text.partition("=")
        if not (column and sign and value) or column in pairs:
            raise _bad_answer(f"{option} {text}: it is written COLUMN=VALUE, once per column.")
        pairs[column] = value
    return pairs


def _classification(word: str) -> Classification:
    for known in _CLASSIFICATIONS:
        if word == known and word != "key":
            return known
    raise _bad_answer(f"`{word}` is no classification: {', '.join(c for c in _CLASSIFICATIONS if c != 'key')}.")


def _bounds(column: str, text: str) -> Bounds:
    parts = [part.strip() for part in text.split(":")]
    if len(parts) not in (2, 3) or not all(parts):
        raise _bad_answer(f"The bounds of `{column}` are written MIN:MAX or MIN:MAX:STEP.")
    try:
        return Bounds(*parts)
    except ValueError as error:
        raise _bad_answer(f"The bounds of `{column}`: {error}.") from None


def _bad_answer(message: str) -> PolicyRefused:
    return PolicyRefused(
        "BAD_ANSWER", message, rule="a draft says only what was answered", hint="kai contracts init --help"
    )
