"""Where in a contract's document something is stated, so that a fault found later still names its line."""

from __future__ import annotations

from kaianalytics.policy.contract import DataContract
from kaianalytics.policy.reading import Document, Faults, Part, Path, Properties

_SCHEMA: Path = ("schema", 0)


class Places:
    """The places of one product's contract, and the notes of faults at them."""

    def __init__(self, product: DataContract, document: Document, faults: Faults) -> None:
        self.product = product
        self.document = document
        self._faults = faults
        self._ours = Properties(Part(document, _SCHEMA, Faults()))

    def note(self, path: Path, message: str, hint: str = "") -> None:
        """Note a fault at a place."""
        self._faults.note(self.document, path, message, hint)

    def note_ours(self, name: str, message: str, hint: str = "", within: Path = ()) -> None:
        """Note a fault at one of our properties of the product, or at the product where it is not stated."""
        self.note((*self._ours.place(name), *within) if self._ours.has(name) else _SCHEMA, message, hint)

    def name(self) -> Path:
        """The product's name."""
        return (*_SCHEMA, "name")

    def column(self, name: str, *within: str | int) -> Path:
        """A column, or a part of it."""
        index = [column.name for column in self.product.columns].index(name)
        return (*_SCHEMA, "properties", index, *within)

    def rule(self, name: str, purpose: str) -> Path:
        """A column's rule for a purpose."""
        owner = Properties(Part(self.document, self.column(name), Faults()))
        return (*owner.place("kai.purposeRules"), purpose)

    def retention(self) -> Path:
        """What the retention counts from."""
        return self._listed("slaProperties", "property", "retention", "element")

    def approver(self, identity: str) -> Path:
        """Where the approver is named."""
        return self._listed("roles", "firstLevelApprovers", identity, "firstLevelApprovers")

    def _listed(self, key: str, field: str, word: str, wanted: str) -> Path:
        """A field of the first entry of a list whose `field` says the word."""
        for part in Part(self.document, (), Faults()).parts(key, required=False):
            if word in str(part.raw(field)):
                return part.place(wanted)
        return (key,)
