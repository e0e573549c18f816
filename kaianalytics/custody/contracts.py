"""A folder of YAML contracts → `Contracts`, or `ContractFaults` with every fault of every file at once.

Laws: an absent or empty folder, a missing register, a file that can't be read and a YAML file that nobody knows are
faults, each with file and line; one fault anywhere and nothing of the folder is used. The official package of the Open
Data Contract Standard judges each contract too, unknown fields included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path as File
from typing import TypeVar

from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError

from kaianalytics.custody.documents import read_document
from kaianalytics.errors import ContractFault, ContractFaults
from kaianalytics.policy.clauses import read_privacy_policy
from kaianalytics.policy.consistency import Folder, check
from kaianalytics.policy.contract import Contracts, DataContract
from kaianalytics.policy.odcs import read_contract
from kaianalytics.policy.purpose import Purposes, read_purposes
from kaianalytics.policy.reading import Document, Faults, Path, canonical_digest
from kaianalytics.policy.roles import Roles, read_roles

PURPOSES = "purposes.yaml"
POLICY = "privacy_policy.yaml"
ROLES = "roles.yaml"
CONTRACT_SUFFIX = ".odcs.yaml"
_REGISTERS = (PURPOSES, POLICY, ROLES)

_Register = TypeVar("_Register")
_Reader = Callable[[Document, Faults], "_Register | None"]


def load(folder: File) -> Contracts:
    """The contracts of a folder; ContractFaults, with every fault there is, where there is one."""
    faults = Faults()
    files = _files(folder, faults)
    documents = {file.name: document for file in files if (document := read_document(file, faults))}
    before = len(faults)
    purposes = _register(documents, PURPOSES, read_purposes, faults)
    purposes_broken = purposes is None or len(faults) > before
    policy = _register(documents, POLICY, read_privacy_policy, faults)
    roles = _register(documents, ROLES, read_roles, faults)
    products = _products(documents, faults)
    broken = len(products) < sum(file.name.endswith(CONTRACT_SUFFIX) for file in files)
    check(Folder(purposes, purposes_broken, policy, roles, products, documents, broken), faults)
    if faults.noted or purposes is None or policy is None or roles is None:
        raise ContractFaults(faults.noted)
    governing = {name: document.data for name, document in documents.items() if name != ROLES}
    return Contracts(purposes, policy, roles, products, canonical_digest(governing))


def load_roles(path: File) -> Roles:
    """The register of handlers alone, read anew; ContractFaults where it has a fault: then nobody has a role."""
    faults = Faults()
    document = read_document(path, faults)
    roles = read_roles(document, faults) if document else None
    if roles is None:
        raise ContractFaults(faults.noted)
    return roles


def load_purposes(path: File) -> Purposes:
    """The registry of purposes and populations alone, for drafting a contract beside it; ContractFaults for a fault."""
    faults = Faults()
    document = read_document(path, faults)
    purposes = read_purposes(document, faults) if document else None
    if purposes is None or faults.noted:
        raise ContractFaults(faults.noted)
    return purposes


def _files(folder: File, faults: Faults) -> list[File]:
    files = sorted(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else []
    contracts = [file for file in files if file.suffix in (".yaml", ".yml")]
    present = {file.name for file in contracts}
    for name in _REGISTERS:
        if name not in present:
            faults.add(ContractFault(name, 1, "the file is missing", "a folder of contracts has all three registers"))
    if not any(name.endswith(CONTRACT_SUFFIX) for name in present):
        faults.add(ContractFault(folder.name, 1, f"the folder holds no <product>{CONTRACT_SUFFIX}"))
    known = [file for file in contracts if file.name in _REGISTERS or file.name.endswith(CONTRACT_SUFFIX)]
    for file in contracts:
        if file not in known:
            hint = f"{', '.join(_REGISTERS)} or <product>{CONTRACT_SUFFIX}"
            faults.add(ContractFault(file.name, 1, "this file is none that a folder of contracts has", hint))
    return known


def _register(
    documents: Mapping[str, Document], name: str, read: _Reader[_Register], faults: Faults
) -> _Register | None:
    document = documents.get(name)
    return read(document, faults) if document else None


def _products(documents: Mapping[str, Document], faults: Faults) -> dict[str, DataContract]:
    products: dict[str, DataContract] = {}
    for name, document in documents.items():
        if not name.endswith(CONTRACT_SUFFIX):
            continue
        valid = _fits_standard(document, faults)
        contract = read_contract(document, faults)
        if contract and contract.product in products:
            faults.note(document, ("schema", 0, "name"), f"product `{contract.product}` has another contract already")
        elif contract and valid:
            products[contract.product] = contract
    return products


def _fits_standard(document: Document, faults: Faults) -> bool:
    """Note what the official model of the standard says against the document, each at the line of its field."""
    try:
        OpenDataContractStandard.model_validate(_with_floats(document.data), extra="forbid")
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            faults.note(document, each["loc"], _standard_says(each["type"], each["loc"], each["msg"]))
        return False
    return True


def _standard_says(kind: str, place: Path, message: str) -> str:
    if kind == "extra_forbidden":
        return f"the Open Data Contract Standard has no field `{place[-1]}` here"
    return f"not as the Open Data Contract Standard has `{place[-1] if place else 'it'}`: {message}"


def _with_floats(value: object) -> object:
    """The data with fractions as floats: the standard's model knows no decimals."""
    if isinstance(value, dict):
        return {key: _with_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item) for item in value]
    return float(value) if isinstance(value, Decimal) else value
