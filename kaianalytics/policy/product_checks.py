"""Whether one product's contract fits its surroundings: every fault with its place.

Laws: the unit of a granted product becomes a pseudonym, and its column refers to the population's own key in the same
key domain; statistics need contribution bounds; a product about people names its unit, its joint use and its countries;
a product about nobody holds public columns alone, and its statistics are the statistics of others that it is joined to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kaianalytics.policy.contract import Column, DataContract, PurposeRule
from kaianalytics.policy.places import Places
from kaianalytics.policy.purpose import Population, Purposes
from kaianalytics.policy.reading import Document, Faults, Path
from kaianalytics.policy.roles import Roles
from kaianalytics.policy.terms_checks import check_terms


@dataclass(frozen=True)
class Surroundings:
    """What a product must fit: purposes and populations, roles (None: not readable), and the other products."""

    purposes: Purposes
    purposes_broken: bool  # whether some purpose or population could not be read: what is missing may be that one
    roles: Roles | None
    products: Mapping[str, DataContract]
    broken: bool  # whether some contract could not be read: a product that is missing may be that one


def check_product(product: DataContract, around: Surroundings, document: Document, faults: Faults) -> None:
    """Note every place where the product does not fit its surroundings."""
    _Check(product, around, document, faults).run()


class _Check:
    def __init__(self, product: DataContract, around: Surroundings, document: Document, faults: Faults) -> None:
        self.product = product
        self.around = around
        self.places = places = Places(product, document, faults)
        self._note, self._note_ours = places.note, places.note_ours
        self.population = around.purposes.populations.get(product.population or "")

    def run(self) -> None:
        """Every check, in the order of a contract."""
        self._file_name()
        self._retention()
        self._approvers()
        self._purposes()
        self._column_rules()
        self._references()
        check_terms(self.product, self.population, self.places)
        if self.product.unit is None:
            self._about_nobody()
        else:
            self._unit(self.product.unit)
            self._register()

    def _file_name(self) -> None:
        if self.places.document.file != f"{self.product.product}.odcs.yaml":
            self._note(self.places.name(), f"product `{self.product.product}` belongs into a file of its name")

    def _retention(self) -> None:
        if self.product.retention is None:
            return
        name = self.product.retention.column
        if not self.product.has(name):
            self._note(self.places.retention(), f"the retention's element: there is no column `{name}`")
        elif self.product.column(name).type not in ("date", "timestamp"):
            self._note(self.places.retention(), f"the retention's element `{name}` is no date and no timestamp")

    def _approvers(self) -> None:
        for approver in self.product.approvers if self.around.roles else ():
            if self.around.roles and approver not in self.around.roles.identities:
                self._note(self.places.approver(approver), f"approver `{approver}` is not registered in roles.yaml")

    def _purposes(self) -> None:
        for purpose, rule in self.product.purposes.items():
            if self._unstated(purpose):
                self._note_purpose(purpose, f"purpose `{purpose}` is not stated in purposes.yaml")
            if self.product.unit is not None:
                self._statistics(purpose, rule)
            if rule.basis.kind == "prior-consent":
                self._choice(purpose, rule.basis.key)

    def _unstated(self, purpose: str) -> bool:
        return purpose not in self.around.purposes.purposes and not self.around.purposes_broken

    def _note_purpose(self, purpose: str, message: str, hint: str = "") -> None:
        self._note_ours("kai.purposes", message, hint, within=(purpose,))

    def _statistics(self, purpose: str, rule: PurposeRule) -> None:
        if "statistics" not in rule.access:
            self._note_purpose(purpose, "who may see rows may ask statistics: list statistics too")
        if self.product.contribution is None:
            self._note_purpose(purpose, "statistics need kai.contribution", "{rows}, or {groups, rowsPerGroup}")

    def _choice(self, purpose: str, key: str) -> None:
        consents = self.population.consents if self.population else None
        if consents is None:
            if self.population or self.product.unit is None:  # an unknown population is told at the unit
                self._note_purpose(purpose, "prior-consent needs a population whose consents are kept")
            return
        source = self.around.products.get(consents.product)
        if source and source.has(consents.choice) and key not in source.column(consents.choice).enum:
            known = ", ".join(source.column(consents.choice).enum) or "none"
            self._note_purpose(purpose, f"`{key}` is no choice that {consents.product} declares", f"choices: {known}")

    def _column_rules(self) -> None:
        for column in self.product.columns:
            for purpose in column.rules:
                if self._unstated(purpose):
                    self._note(self.places.rule(column.name, purpose), f"purpose `{purpose}` is not stated")
                elif purpose not in self.product.purposes:
                    place = self.places.rule(column.name, purpose)
                    self._note(place, f"kai.purposes does not grant `{purpose}`, so no column can have a rule for it")

    def _references(self) -> None:
        for column in self.product.columns:
            for index, reference in enumerate(column.references):
                self._reference(column, reference, self.places.column(column.name, "relationships", index, "to"))

    def _reference(self, column: Column, reference: str, place: Path) -> None:
        name, _, target = reference.rpartition(".")
        product = self.around.products.get(name)
        if product is None:
            if not self.around.broken:
                self._note(place, f"no contract describes product `{name}` of `{reference}`")
        elif not product.has(target):
            self._note(place, f"product `{name}` has no column `{target}`")
        elif product.column(target).key != column.key:
            self._note(
                place, f"`{column.name}` and `{reference}` are in different key domains: they could not be joined"
            )

    def _about_nobody(self) -> None:
        for column in self.product.columns:
            if column.classification != "public":
                place = self.places.column(column.name, "classification")
                hint = "name kai.privacyUnit {population, column}"
                self._note(place, f"column `{column.name}` is not public, yet the product names no privacy unit", hint)

    def _unit(self, unit: str) -> None:
        if self.population is None and not self.around.purposes_broken:
            self._note_ours("kai.privacyUnit", f"population `{self.product.population}` is not stated in purposes.yaml")
        if not self.product.has(unit):
            self._note_ours("kai.privacyUnit", f"there is no column `{unit}`", within=("column",))
            return
        column = self.product.column(unit)
        if column.classification != "key":
            place = self.places.column(unit, "classification")
            self._note(place, f"the unit's column `{unit}` is a key: classification: key")
            return
        for purpose in self.product.purposes:
            if purpose not in column.rules or column.rules[purpose].action != "pseudonym":
                place = self.places.rule(unit, purpose)
                self._note(place, f"the unit's column `{unit}` has no rule `{purpose}: pseudonym`")
        if self.population:
            self._path_to_unit(column, self.population)

    def _path_to_unit(self, column: Column, population: Population) -> None:
        home = f"{population.product}.{population.key}"
        if f"{self.product.product}.{column.name}" != home and home not in column.references:
            hint = f"relationships: [{{to: {home}}}]"
            self._note(self.places.column(column.name), f"`{column.name}` does not refer to the unit `{home}`", hint)

    def _register(self) -> None:
        if not self.product.purposes or self.around.roles is None:
            return
        if not self.product.joint_use:
            self._note_ours("kai.jointUse", "kai.jointUse names no company, so nobody could use the product (clause 5)")
        if not self.product.countries:
            self._note_ours(
                "kai.countries", "kai.countries names no country, so nobody could use the product (clause 9.1)"
            )
        for company in sorted(self.product.joint_use):
            stated = self.around.roles.companies.get(company)
            if stated is None or not stated.joint_use:
                self._note_ours("kai.jointUse", f"company `{company}` is not in the joint use of roles.yaml")
        for country in sorted(self.product.countries - self.around.roles.assessed_countries):
            self._note_ours("kai.countries", f"country `{country}` is not assessed in roles.yaml")
