"""kaianalytics: analytics on usage data, for a declared purpose and no other.

In a notebook: `import kaianalytics; kai = kaianalytics.connect()`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaianalytics.client.connection import Connection

__all__ = ["__version__", "connect"]
__version__ = version("kaianalytics")


def connect(purpose: str = "") -> Connection:
    """This kernel's one connection to the gateway; `purpose`, where given, must be the kernel's own.

    Raises NO_SANDBOX_KERNEL outside a kernel that a purpose's launcher card started, PURPOSE_MISMATCH at odds with it.
    """
    # imported here: every room imports this package, and only a notebook needs Polars and HTTP
    from kaianalytics.client import connection

    return connection.connect(purpose)
