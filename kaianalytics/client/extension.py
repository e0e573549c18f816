"""What IPython loads: the `%%kai` magic and its completion, once per shell."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kaianalytics.client import connection
from kaianalytics.client.completion import matcher
from kaianalytics.client.magics import KaiMagic
from kaianalytics.protocol import Dataset

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load(shell: InteractiveShell) -> None:
    """Make `%kai`, `%%kai` and completion inside questions known to the shell."""
    magic = KaiMagic(shell, connection.connect)
    magic.__dict__["_ipython_magic_no_var_expand"] = True  # law 1 of the magic holds for its line as well
    shell.magics_manager.register_function(magic, "line_cell", "kai")
    shell.Completer.custom_matchers.append(matcher(_datasets))


@cache
def _datasets() -> tuple[Dataset, ...]:
    """The views of this kernel's purpose, asked once; a refusal is not kept, and asked again."""
    return tuple(connection.connect().datasets())
