"""YAML text → plain data with the line of every part, and every fault of the text.

Laws: a key that stands twice is a fault, never the last one wins; anchors, aliases, merges and tags are faults, for
what stands in a line is what it says; dates stay text, fractions become exact decimals; keys are text, as written.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path as File

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from kaianalytics.errors import ContractFault
from kaianalytics.policy.reading import Document, Faults, Path

_TAG = "tag:yaml.org,2002:"
_LARGEST_FILE = 1 << 20  # bytes; a contract of a thousand columns is a tenth of it
_DEEPEST = 32


def read_document(file: File, faults: Faults) -> Document | None:
    """The file as a document, or None with every fault of its text noted."""
    before = len(faults)
    root = _compose(file, faults)
    if root is None:
        return None
    reading = _Reading(file.name, faults)
    data = reading.value(root, ())
    return Document(file.name, data, reading.lines) if len(faults) == before else None


def _compose(file: File, faults: Faults) -> Node | None:
    try:
        raw = file.read_bytes()
        text = raw.decode() if len(raw) <= _LARGEST_FILE else None
    except (OSError, UnicodeDecodeError):
        text = None
    if text is None:
        faults.add(ContractFault(file.name, 1, "the file can't be read as UTF-8 text of at most 1 MiB"))
        return None
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except (YAMLError, RecursionError) as error:
        faults.add(_syntax_fault(file.name, error))
        return None
    if root is None:
        faults.add(ContractFault(file.name, 1, "the file is empty"))
    return root


def _syntax_fault(name: str, error: Exception) -> ContractFault:
    mark = error.problem_mark or error.context_mark if isinstance(error, MarkedYAMLError) else None
    problem = error.problem if isinstance(error, MarkedYAMLError) and error.problem else "the text can't be parsed"
    return ContractFault(name, mark.line + 1 if mark else 1, f"no valid YAML: {problem}")


class _Reading:
    """Walks the nodes of one file, collecting lines and noting faults."""

    def __init__(self, file: str, faults: Faults) -> None:
        self.file = file
        self.faults = faults
        self.lines: dict[Path, int] = {}
        self._seen: set[int] = set()

    def value(self, node: Node, path: Path) -> object:
        """The node as plain data; what is not plain becomes None, with a fault."""
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if node.anchor is not None or id(node) in self._seen:
            return self._refused(line, "anchors and aliases have no place in a contract")
        self._seen.add(id(node))
        if len(path) > _DEEPEST:
            return self._refused(line, f"nested deeper than {_DEEPEST} levels")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode) or key_node.tag == f"{_TAG}merge":
                self._refused(line, "a key is a plain text: no merge, no list, no mapping")
                continue
            key = str(key_node.value)
            if not _is_text(key):
                self._refused(line, "half of a surrogate pair is no character", "write the character itself")
                continue
            if key in values:
                self._refused(line, f"key `{key}` stands twice")
            self.lines[(*path, key)] = line
            values[key] = self.value(value_node, (*path, key))
        return values

    def _scalar(self, node: Node, line: int) -> object:
        text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
        if not _is_text(text):
            return self._refused(line, "half of a surrogate pair is no character", "write the character itself")
        if kind in ("str", "timestamp"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind in ("int", "float"):
            return self._number(text, kind, line)
        return self._refused(line, "tags have no place in a contract")

    def _number(self, text: str, kind: str, line: int) -> object:
        try:
            return int(text) if kind == "int" else _finite(text)
        except (ValueError, InvalidOperation):
            return self._refused(line, f"`{text}` is no plain number", "decimal digits alone")

    def _refused(self, line: int, message: str, hint: str = "") -> object:
        """Note the fault; the null that it returns stands in for what was refused."""
        self.faults.add(ContractFault(self.file, line, message, hint))
        return None


def _is_text(text: str) -> bool:
    """Whether it has bytes: an escape in a quoted text may be half of a pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError("a number is finite")
    return number
