"""What the gateway's rooms share: home, keys, records, what is served now, who is registered now, the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.isolation import Isolation
from kaianalytics.gateway.serving import Serving
from kaianalytics.policy.roles import Roles
from kaianalytics.records import stops
from kaianalytics.records.audit import AuditEvent
from kaianalytics.records.database import Records


@dataclass(frozen=True)
class Context:
    """One running gateway's parts; `serving`, `roles` and `clock` are asked anew each time."""

    home: Home
    keys: Keys
    records: Records
    serving: Callable[[], Serving]
    roles: Callable[[], Roles]
    clock: Callable[[], datetime]
    isolation: Isolation

    def event(self, actor: str, kind: str, subject: str = "", **body: object) -> AuditEvent:
        """An audit event of this moment."""
        return AuditEvent(self.clock(), actor, kind, subject, body)

    def stop_epoch(self) -> int:
        """How many stop requests have come since the records began: the second part of every snapshot."""
        with self.records.reading() as view:
            return stops.epoch(view)
