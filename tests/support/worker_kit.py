"""What the tests of workers share: views over hand-made stores, in the shapes that the plans' own statements have."""

from __future__ import annotations

from kaianalytics.policy.secure_views import ViewSql

PERSON = [f"{number:02x}" * 16 for number in range(16)]  # pseudonyms: 32 hex digits


def view_over(name: str, unit: str, *columns: str, stop: str = "unit") -> ViewSql:
    """The view of a store's table, by the name of its unit's column; without columns it shows them all."""
    shown = ", ".join(f"t.{column}" for column in columns) or "t.*"
    stopped = f"EXISTS (SELECT 1 FROM kai_stops AS s WHERE s.{stop} = t.{unit})"
    body = f"VIEW {name} AS SELECT {shown} FROM store.main.{name} AS t WHERE"
    held = f"SELECT EXISTS (SELECT 1 FROM store.main.{name} AS t WHERE {stopped})"
    return ViewSql(f"CREATE OR REPLACE {body} true", f"CREATE OR REPLACE SECURE {body} NOT {stopped}", held)
