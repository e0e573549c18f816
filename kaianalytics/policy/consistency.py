"""Whether contracts, purposes, policy and roles fit one another: every fault with its place.

Laws checked here: names lead somewhere (purposes, products, columns, choices, clauses); each population's own product
lists its units, and its residences, choices and stops can be joined to them. `policy.product_checks` holds the laws of
a single product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from kaianalytics.policy.clauses import PURPOSE_CLAUSES, PrivacyPolicy
from kaianalytics.policy.contract import Column, DataContract
from kaianalytics.policy.places import Places
from kaianalytics.policy.product_checks import Surroundings, check_product
from kaianalytics.policy.purpose import ChoiceSource, Population, Purposes, StopSource
from kaianalytics.policy.reading import Document, Faults, Path
from kaianalytics.policy.roles import Roles, grant_places
from kaianalytics.policy.terms_checks import check_names


@dataclass(frozen=True)
class Folder:
    """What could be read of a folder; what had faults of its own is None, absent or broken, and is not judged again."""

    purposes: Purposes | None
    purposes_broken: (
        bool  # whether purposes.yaml has faults: a purpose or population that is missing may be one of them
    )
    policy: PrivacyPolicy | None
    roles: Roles | None
    products: Mapping[str, DataContract]
    documents: Mapping[str, Document]  # by file name
    broken: bool  # whether some contract could not be read: a product that is missing may be that one


def check(folder: Folder, faults: Faults) -> None:
    """Note every place where the folder's files do not fit one another."""
    if folder.purposes is None:
        return
    for population in folder.purposes.populations.values():
        _Populations(folder, folder.purposes, population, faults).check()
    surroundings = Surroundings(folder.purposes, folder.purposes_broken, folder.roles, folder.products, folder.broken)
    for product in folder.products.values():
        check_product(product, surroundings, folder.documents[product.file], faults)
    places = {n: Places(each, folder.documents[each.file], faults) for n, each in folder.products.items()}
    check_names(folder.products, places)
    if folder.purposes_broken:
        return
    if folder.policy:
        _check_policy(folder.documents["privacy_policy.yaml"], folder.purposes, folder.policy, faults)
    if roles := folder.documents.get("roles.yaml"):
        _check_grants(roles, folder.purposes, faults)


def _check_policy(document: Document, purposes: Purposes, policy: PrivacyPolicy, faults: Faults) -> None:
    for key, clause in policy.clauses.items():
        place = ("clauses", key, "purposes")
        for purpose in clause.purposes:
            if purpose not in purposes.purposes:
                faults.note(document, place, f"purpose `{purpose}` is not stated in purposes.yaml")
    for clause_key in PURPOSE_CLAUSES:
        stated = {key for key, purpose in purposes.purposes.items() if purpose.clause == clause_key}
        listed = set(policy.clauses[clause_key].purposes)
        for purpose in sorted(stated - listed):
            place = ("clauses", clause_key, "purposes")
            faults.note(
                document, place, f"clause {clause_key} does not list `{purpose}`, which purposes.yaml binds to it"
            )
        for purpose in sorted((listed - stated) & set(purposes.purposes)):
            place = ("clauses", clause_key, "purposes")
            faults.note(document, place, f"purposes.yaml binds `{purpose}` to another clause than {clause_key}")


def _check_grants(document: Document, purposes: Purposes, faults: Faults) -> None:
    for place, purpose in grant_places(document):
        stated = purposes.purposes.get(purpose)
        if stated is None:
            faults.note(document, place, f"purpose `{purpose}` is not stated in purposes.yaml")
        elif not stated.open:
            faults.note(document, place, f"purpose `{purpose}` is not open: nothing can be explored for it")


class _Populations:
    """The checks of one population against the products it names."""

    def __init__(self, folder: Folder, purposes: Purposes, population: Population, faults: Faults) -> None:
        self.folder = folder
        self.purposes = purposes
        self.population = population
        self.faults = faults
        self.place: Path = ("populations", population.name)

    def check(self) -> None:
        """Note every fault of the population."""
        key = self._column(("product",), self.population.product, ("key",), self.population.key)
        if key:
            self._check_root(self.folder.products[self.population.product], key)
        if self.population.residence:
            self._check_residence(self.population.residence)
        for field, source in (("consents", self.population.consents), ("stops", self.population.stops)):
            if source:
                self._check_source(field, source, key)
        if self.population.consents:
            self._check_granted(self.population.consents)
        if self.population.stops:
            self._check_scopes(self.population.stops)
        for product in self.population.product_caps:
            self._check_cap(product)

    def _check_cap(self, product: str) -> None:
        contract = self.folder.products.get(product)
        if contract is None and not self.folder.broken:
            self._note(("product_caps", product), f"no contract describes product `{product}`")
        elif contract and contract.population != self.population.name:
            self._note(("product_caps", product), f"product `{product}` is not about this population")

    def _note(self, path: Path, message: str, hint: str = "") -> None:
        self.faults.note(self.folder.documents["purposes.yaml"], (*self.place, *path), message, hint)

    def _column(self, at_product: Path, product: str, at_column: Path, column: str) -> Column | None:
        contract = self.folder.products.get(product)
        if contract is None:
            if not self.folder.broken:
                self._note(at_product, f"no contract describes product `{product}`")
            return None
        if not contract.has(column):
            self._note(at_column, f"product `{product}` has no column `{column}`")
            return None
        return contract.column(column)

    def _check_root(self, root: DataContract, key: Column) -> None:
        if root.population != self.population.name or root.unit != self.population.key:
            hint = f"kai.privacyUnit: {{population: {self.population.name}, column: {self.population.key}}}"
            self._note(("key",), f"product `{root.product}` does not name this key as its privacy unit", hint)
        if not key.required:
            self._note(("key",), f"column `{key.name}` is not required, so it can't list the units")

    def _check_residence(self, residence: str) -> None:
        place = ("residence", "column")
        column = self._column(("product",), self.population.product, place, residence)
        if column and column.enum:
            for country in sorted(self.population.countries - set(column.enum)):
                self._note(("residence", "countries"), f"country `{country}` is no value of `{residence}`")

    def _check_source(self, field: str, source: ChoiceSource | StopSource, key: Column | None) -> None:
        for each in fields(source):
            if each.name in ("product", "granted"):
                continue
            name = getattr(source, each.name)
            column = self._column((field, "product"), source.product, (field, each.name), name)
            if column is None:
                continue
            if each.name in ("decided_at", "received_at") and column.type not in ("date", "timestamp"):
                self._note((field, each.name), f"column `{name}` is no date and no timestamp")
            if each.name == "unit" and key and column.key != key.key:
                self._note((field, each.name), f"column `{name}` is not in the key domain of the population's key")

    def _check_granted(self, consents: ChoiceSource) -> None:
        contract = self.folder.products.get(consents.product)
        if contract and contract.has(consents.state) and consents.granted not in contract.column(consents.state).enum:
            place = ("consents", "granted")
            self._note(
                place, f"`{consents.granted}` is no value that `{consents.state}` declares", "list it in its enum"
            )

    def _check_scopes(self, stops: StopSource) -> None:
        contract = self.folder.products.get(stops.product)
        if contract is None or not contract.has(stops.scope):
            return
        for scope in contract.column(stops.scope).enum:
            if scope != "all" and scope not in self.purposes.purposes:
                self._note(("stops", "scope"), f"scope `{scope}` is neither `all` nor a stated purpose")
