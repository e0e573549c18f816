"""The making of operations, checked: the one way to a `Call`.

Laws: a `Call` is made by `call` alone, which refuses what is ill-typed, too deep or too large, so that nothing written
from it is; what an operation takes and gives stands in `signatures`, how it is evaluated in `evaluation`, how it is
written in `writing`, between which numbers it lies in `ranges`; a test compares these tables.
"""

from __future__ import annotations

from kaianalytics.privacy.expression import Call, Expression, Literal
from kaianalytics.privacy.expressions.ranges import interval
from kaianalytics.privacy.expressions.signatures import COPIES, OPERATIONS
from kaianalytics.privacy.refusals import listed, unsupported

__all__ = ["MAX_DEPTH", "MAX_NODES", "OPERATIONS", "call", "check_size", "interval"]

MAX_DEPTH = 40
MAX_NODES = 10_000


def call(operation: str, *arguments: Expression) -> Call:
    """The operation on its arguments; QueryUnsupported where their types don't fit, or where it grows too large."""
    known = OPERATIONS[operation]
    result = known.typed(arguments)
    if result is None:
        types = listed(tuple(argument.type for argument in arguments))
        raise unsupported("EXPRESSION_TYPE", operation=operation, types=types, takes=known.takes)
    made = Call(operation, arguments, result, known.nullable(arguments))
    check_size(made)
    return made


def check_size(expression: Expression) -> None:
    """Refuses an expression that nests too deeply or has too many parts; its parts have passed this check before."""
    deepest = nodes = 0
    stack = [(expression, 1)]
    while stack:
        node, depth = stack.pop()
        deepest, nodes = max(deepest, depth), nodes + _weight(node)
        if deepest > MAX_DEPTH:
            raise unsupported("EXPRESSION_TOO_DEEP", limit=str(MAX_DEPTH))
        if nodes > MAX_NODES:
            raise unsupported("EXPRESSION_TOO_LARGE", limit=f"{MAX_NODES:,}")
        if isinstance(node, Call):
            copies = COPIES.get(node.operation, 1)
            stack.extend((argument, depth + 1) for argument in node.arguments for _ in range(copies))


def _weight(node: Expression) -> int:
    # A text counts for its length as well, so that no nest of copies becomes a statement of megabytes.
    return 1 + len(node.value) // 32 if isinstance(node, Literal) and isinstance(node.value, str) else 1
