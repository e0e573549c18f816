"""A process of its own that charges the ledger: `asker.py HOME NAME [ask N | loop | die STEP]`.

ask N: N questions, prints how many were granted. loop: one charge after another, printing each id once it is sure.
die STEP: kills itself, as `kill -9` does, at one step of a charge and its release.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path

from sqlalchemy.engine import URL

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.errors import BudgetRefused
from kaianalytics.records import ledger, releases
from kaianalytics.records.audit import Link
from kaianalytics.records.database import Records
from kaianalytics.records.head import HeadFile
from kaianalytics.records.lock import WriteLock

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.records_kit import SPANNING, charge, event


def die() -> None:
    """Ends this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def say(number: int) -> None:
    """Tells the test a number."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


class DyingHead(HeadFile):
    """The real head, whose process dies just before it would be advanced past a given event."""

    last = 10**9

    def write(self, head: Link) -> None:
        """Writes the head, or dies."""
        if head.sequence > self.last:
            die()
        super().write(head)


def ask(records: Records, name: str, questions: int) -> None:
    """Asks and counts what was granted."""
    granted = 0
    for number in range(questions):
        try:
            charge(records, number, snapshot=name)
            granted += 1
        except BudgetRefused:
            pass
    say(granted)


def loop(records: Records, name: str) -> None:
    """Charges until it is ended from outside."""
    for number in count():
        say(charge(records, number, snapshot=name))


def charge_and_release(records: Records, head: DyingHead, step: str) -> None:
    """One charge and its release, which ends at `step`."""
    if step == "charge committed":
        head.last = 1
    with records.writing(event("statistics.charged")) as tx:
        charge_id = ledger.charge(tx, SPANNING)
        if step == "charge written":
            die()
    if step == "head advanced":
        die()
    if step == "release committed":
        head.last = 2
    with records.writing(event("statistics.released")) as tx:
        releases.record(tx, charge_id, b"[[1]]")
        if step == "noise written":
            die()
        releases.record_answer(tx, charge_id, "asked", "SELECT", b'{"rows":[]}')
        if step == "release written":
            die()
    die()


def main(root: str, name: str, work: str, *arguments: str) -> None:
    """Opens the home's records and does the work."""
    home = Home.open(Path(root))
    keys = Keys.load(home)
    head = DyingHead(home.head, keys)
    url = URL.create("sqlite", database=str(home.records))
    records = Records(url, head, WriteLock(home.head.with_suffix(".lock")), keys)
    if work == "ask":
        ask(records, name, int(*arguments))
    elif work == "loop":
        loop(records, name)
    else:
        charge_and_release(records, head, *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
