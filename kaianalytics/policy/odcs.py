"""One ODCS document → one DataContract: the standard's own fields where they exist, ours under customProperties.

Read here from the standard: name, version, servers[].type and path, schema[0], logicalType, required, primaryKey,
classification, logicalTypeOptions (minimum, maximum, multipleOf), enum, relationships, slaProperties `retention`, and
the approvers in roles. Ours stand in `policy.properties`, with what they mean; any other `kai.` property is a fault.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from kaianalytics.policy.columns import NAME, read_column
from kaianalytics.policy.contract import Access, Basis, Column, DataContract, PurposeRule, Retention
from kaianalytics.policy.leaving import RowsCaps, read_download_bytes, read_rows_caps
from kaianalytics.policy.properties import PRODUCT_PROPERTIES
from kaianalytics.policy.reading import Document, Faults, Part, Properties
from kaianalytics.policy.terms import Terms, read_terms

API_VERSIONS = ("v3.1.0", "v3.2.0")
APPI_STATUSES = (
    *("personal-information", "pseudonymously-processed", "anonymously-processed", "person-related", "not-personal"),
)
Format = Literal["parquet", "csv", "duckdb"]
_FORMATS: tuple[Format, ...] = get_args(Format)
_ACCESS: tuple[Access, ...] = get_args(Access)
_BASIS = re.compile(r"prior-consent\(([a-z0-9][a-z0-9-]*)\)")
# A path inside the sources folder: no way out of it, no wildcard, and for a DuckDB file the table after `#`.
_SOURCE = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]*(#[A-Za-z_][A-Za-z0-9_.]*)?")


def read_contract(document: Document, faults: Faults) -> DataContract | None:
    """The contract in a parsed `<product>.odcs.yaml`, or None with every fault noted."""
    before = len(faults)
    root = Part(document, (), faults)
    _read_head(root)
    version, title = root.text("version"), root.text("name")
    source, form = _source(root)
    retention, approvers = _retention(root), _approvers(root)
    schema = _single(root, "schema", "a contract describes one product: one schema object")
    contract = _product(schema) if schema else None
    if contract is None or len(faults) != before:
        return None
    product, columns, purposes, unit, terms, register, leaving = contract
    return DataContract(
        product=product,
        version=version,
        title=title,
        source=source,
        format=form,
        columns=columns,
        purposes=purposes,
        population=unit[0],
        unit=unit[1],
        contribution=terms.contribution,
        profile=terms.profile,
        windows=terms.windows,
        pre_aggregates=terms.pre_aggregates,
        retention=retention,
        rows_caps=leaving[0],
        download_bytes=leaving[1],
        file=document.file,
        description=schema.text("description", "") if schema else "",
        appi_status=register[0],
        joint_use=register[1],
        countries=register[2],
        approvers=approvers,
    )


_Unit = tuple[str | None, str | None]
_Register = tuple[str, frozenset[str], frozenset[str]]
_Leaving = tuple[RowsCaps, int]
_Product = tuple[str, tuple[Column, ...], dict[str, PurposeRule], _Unit, Terms, _Register, _Leaving]


def _read_head(root: Part) -> None:
    root.choice("apiVersion", API_VERSIONS)
    root.choice("kind", ("DataContract",))
    root.text("id")


def _product(schema: Part) -> _Product:
    ours = Properties(schema)
    ours.only(*PRODUCT_PROPERTIES)
    return (
        *(_product_name(schema), _columns(schema), _purposes(ours)),
        *(_unit(ours), read_terms(ours), _register(ours)),
        (read_rows_caps(ours), read_download_bytes(ours)),
    )


def _product_name(schema: Part) -> str:
    name = schema.text("name")
    if name and not NAME.fullmatch(name):
        schema.fault(f"`{name}` is no product name", "small letters, digits and _, beginning with a letter", at="name")
    if name.startswith("kai_"):
        schema.fault("names that begin with `kai_` belong to the sandbox", at="name")
    return name


def _columns(schema: Part) -> tuple[Column, ...]:
    columns: dict[str, Column] = {}
    for part in schema.parts("properties"):
        column = read_column(part)
        if column.name in columns:
            part.fault(f"column `{column.name}` is described twice", at="name")
        columns[column.name] = column
    return tuple(columns.values())


def _purposes(ours: Properties) -> dict[str, PurposeRule]:
    rules: dict[str, PurposeRule] = {}
    for purpose, part in ours.named("kai.purposes", required=False).items():
        part.only("basis", "access")
        access = frozenset(part.choices("access", _ACCESS))
        basis = _basis(part)
        if access and basis:
            rules[purpose] = PurposeRule(purpose, basis, access)
    return rules


def _basis(part: Part) -> Basis | None:
    text = part.text("basis")
    if text == "notified":
        return Basis("notified")
    if match := _BASIS.fullmatch(text):
        return Basis("prior-consent", match[1])
    if text:
        part.fault(f"`{text}` is no basis", "notified, or prior-consent(choice)", at="basis")
    return None


def _unit(ours: Properties) -> _Unit:
    if not ours.has("kai.privacyUnit"):
        return None, None
    part = ours.part("kai.privacyUnit")
    if part is None:
        return None, None
    part.only("population", "column")
    return part.text("population"), part.text("column")


def _register(ours: Properties) -> _Register:
    status = ours.choice("kai.appiStatus", APPI_STATUSES)
    joint_use = frozenset(ours.texts("kai.jointUse", required=False))
    return status, joint_use, frozenset(ours.texts("kai.countries", required=False))


def _source(root: Part) -> tuple[str, Format]:
    server = _single(root, "servers", "a contract names one server: the file it is read from")
    if server is None:
        return "", "parquet"
    form = server.choice("format", _FORMATS)
    path = server.text("path")
    if path and not _SOURCE.fullmatch(path):
        server.fault(f"`{path}` is no file inside the sources folder", "for instance sessions.parquet", at="path")
    if path and (form == "duckdb") != ("#" in path):
        server.fault("a DuckDB source, and no other, names its table: file.duckdb#table", at="path")
    return path, form


def _retention(root: Part) -> Retention | None:
    stated = [part for part in root.parts("slaProperties", required=False) if part.raw("property") == "retention"]
    if not stated:
        return None
    if len(stated) > 1:
        stated[1].fault("a product has one retention")
    part = stated[0]
    days = part.whole("value")
    if part.text("unit") not in ("d", "day", "days"):
        part.fault("a retention is counted in days", "unit: d", at="unit")
    element = part.text("element")
    return Retention(element.rpartition(".")[2], days)


def _approvers(root: Part) -> tuple[str, ...]:
    stated = (part.text("firstLevelApprovers", "") for part in root.parts("roles", required=False))
    names = (name.strip() for text in stated for name in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def _single(root: Part, key: str, message: str) -> Part | None:
    parts = root.parts(key)
    if len(parts) > 1:
        parts[1].fault(message)
    return parts[0] if parts else None
