"""kaianalytics: analytics on usage data, for a declared purpose and no other.

In a notebook: `import kaianalytics; kai = kaianalytics.connect()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    from IPython.core.interactiveshell import InteractiveShell

    from kaianalytics.client.connection import Connection
    from kaianalytics.client.frames import FrameTable

__all__ = ["__version__", "connect", "plus_minus", "table"]

# Imported in the functions: every room imports this package, and only a notebook needs Polars and HTTP.


def connect(purpose: str = "") -> Connection:
    """This kernel's one connection to the gateway; `purpose`, where given, must be the kernel's own.

    Raises NO_SANDBOX_KERNEL outside a kernel that a purpose's launcher card started, PURPOSE_MISMATCH at odds with it.
    """
    from kaianalytics.client import connection

    return connection.connect(purpose)


def table(frame: pl.DataFrame, **titles: str) -> FrameTable:
    """A frame as a table for readers, `x` and `x_pm` in one column as `x ± x_pm`; `x="Title"` chooses and heads `x`."""
    from kaianalytics.client.frames import FrameTable

    return FrameTable(frame, titles)


def plus_minus(value: float, half_width: float) -> str:
    """`value ± half_width` in the digits that `table` gives them, for a title or a sentence."""
    from kaianalytics.client import digits

    return digits.plus_minus(value, half_width)


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # looked up when asked: what reads it takes a third of a worker's imports, and no worker asks
    from importlib.metadata import version

    return version("kaianalytics")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext kaianalytics`: the `%%kai` magic and completion inside questions; `connect()` loads it by itself."""
    from kaianalytics.client import extension

    extension.load(shell)
