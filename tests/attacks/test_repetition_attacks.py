"""Differencing and averaging by asking again: no way of asking buys a second draw for nothing.

Each way is tried on the real gateway. Its answer is the recorded one, figure for figure, or it is charged in full; and
in the end the account shows the sum of what was charged, and the figures no more draws than were paid for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from support.real_world import AS_OF, Asker, Gateway, World

from kaianalytics.errors import Refused
from kaianalytics.protocol import API

RHO = Decimal("0.0003")
PLAIN = "SELECT device, COUNT(*) AS n FROM sessions WHERE pages > 7 AND seconds > 30 GROUP BY device"

# another way to write the same question: free or charged, as the gateway finds it
SPELT_OTHERWISE = {
    "itself": PLAIN,
    "white space": PLAIN.replace(" ", " \n\t "),
    "no white space where none is needed": PLAIN.replace(" > ", ">"),
    "small letters": PLAIN.lower(),
    "capitals": PLAIN.replace("sessions", "SESSIONS").replace("pages", "PAGES"),
    "comments": PLAIN.replace("FROM", "/* averaging */ FROM") + " -- again",
    "nested comments": PLAIN.replace("FROM", "/* a /* b */ c */ FROM"),
    "a semicolon": PLAIN + ";",
    "quoted names": PLAIN.replace("sessions", '"sessions"').replace("pages", '"pages"'),
    "the view's alias": PLAIN.replace("FROM sessions", "FROM sessions AS s").replace("pages", "s.pages"),
    "the figure's alias": PLAIN.replace("AS n", "AS m"),
    "the key's alias": PLAIN.replace("SELECT device", "SELECT device AS d"),
    "the columns in another order": PLAIN.replace("device, COUNT(*) AS n", "COUNT(*) AS n, device"),
    "the conditions in another order": PLAIN.replace("pages > 7 AND seconds > 30", "seconds > 30 AND pages > 7"),
    "a condition mirrored": PLAIN.replace("pages > 7", "7 < pages"),
    "a condition doubled": PLAIN.replace("pages > 7", "pages > 7 AND pages > 7"),
    "a condition negated twice": PLAIN.replace("pages > 7", "NOT (NOT pages > 7)"),
    "a condition by the next whole number": PLAIN.replace("pages > 7", "pages >= 8"),
    "a condition that is always true": PLAIN.replace("pages > 7", "pages > 7 AND TRUE"),
    "parentheses": PLAIN.replace("pages > 7 AND seconds > 30", "((pages > 7) AND (seconds > 30))"),
    "a number with its type": PLAIN.replace("> 7", "> 7.0"),
    "a sum for a number": PLAIN.replace("> 7", "> 3 + 4"),
    "groups by their place": PLAIN.replace("GROUP BY device", "GROUP BY 1"),
    "groups by all": PLAIN.replace("GROUP BY device", "GROUP BY ALL"),
    "a subquery": f"SELECT * FROM ({PLAIN}) AS q",
    "a common table": "WITH q AS (SELECT * FROM sessions WHERE pages > 7 AND seconds > 30) "
    "SELECT device, COUNT(*) AS n FROM q GROUP BY device",
    "COUNT(1)": PLAIN.replace("COUNT(*)", "COUNT(1)"),
    "a filter of the figure": "SELECT device, COUNT(*) FILTER (WHERE pages > 7 AND seconds > 30) AS n FROM sessions "
    "GROUP BY device",
    "an order": PLAIN + " ORDER BY n DESC",
    "a limit": PLAIN + " ORDER BY n DESC LIMIT 100",
    "a HAVING that holds nothing back": PLAIN + " HAVING n > -1000000",
    "arithmetic after the noise": PLAIN.replace("COUNT(*) AS n", "COUNT(*) + 0 AS n"),
    "twice its half": PLAIN.replace("COUNT(*) AS n", "2 * (COUNT(*) / 2) AS n"),
    "the figure twice": PLAIN.replace("COUNT(*) AS n", "COUNT(*) AS n, COUNT(*) AS again"),
    "an unlike alphabet": PLAIN.replace("FROM sessions", "FROM ｓｅｓｓｉｏｎｓ"),
    "the price with zeros": PLAIN,
}


@dataclass
class Account:
    """What one session was told, and what the account shows for it."""

    asker: Asker
    draws: dict[tuple[Any, ...], set[str]] = field(default_factory=dict)
    charged: int = 0

    def spent(self) -> Decimal:
        lines = self.asker.door.request_json("GET", f"{API}/budget")["lines"]
        return next(Decimal(line["spent"]) for line in lines if line["name"] == "account")

    def ask(self, sql: str, rho: str = str(RHO), asker: Asker | None = None) -> dict[str, Any] | None:
        """One asking; None where it is refused."""
        try:
            answer = (asker or self.asker).stats(sql, rho)
        except Refused:  # which is no draw
            return None
        self.charged += bool(answer["charged"])
        for row in cells(json.loads(answer["release"])):
            self.draws.setdefault(row[:-1], set()).add(str(row[-1]))
        return answer


def cells(release: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Each figure of a release with the key of its cell in front."""
    roles = [column["role"] for column in release["columns"]]
    for row in release["rows"]:
        keys = tuple(value for value, role in zip(row, roles, strict=True) if role == "key")
        yield from ((*keys, round(float(value))) for value, role in zip(row, roles, strict=True) if role != "key")


@pytest.fixture
def account(gateway: Gateway) -> Account:
    return Account(gateway.session("kaito"))


def test_no_spelling_buys_a_second_draw_for_nothing(account: Account) -> None:
    before = account.spent()
    free = []
    for name, sql in SPELT_OTHERWISE.items():
        known = account.charged
        answer = account.ask(sql, "0.000300" if name == "the price with zeros" else str(RHO))
        if answer is not None and account.charged == known:
            free.append(name)
    assert account.spent() - before == account.charged * RHO
    assert all(len(found) <= account.charged for found in account.draws.values())
    # what can be seen to be the same is the same, and free
    assert {
        "white space", "comments", "nested comments", "small letters", "parentheses",
        "the figure's alias", "the key's alias", "the columns in another order", "an order", "groups by their place",
        "arithmetic after the noise", "the price with zeros",
    } <= set(free)  # fmt: skip
    assert 1 <= account.charged < len(SPELT_OTHERWISE) / 2


def test_no_kernel_notebook_user_or_new_login_buys_a_second_draw(gateway: Gateway, account: Account) -> None:
    sql = "SELECT service, SUM(pages) AS n FROM sessions WHERE seconds > 77 GROUP BY service"
    world = gateway.world
    before = account.spent()
    world.issue("kaito")  # logs in again

    def notebook_of(name: str) -> Asker:
        asked = {"purpose": "service-improvement", "kernel": f"kernel of {name}", "notebook": name}
        grant = gateway.as_("kaito").request_json("POST", f"{API}/sessions", asked)
        return Asker(grant["token"], gateway.door(grant["token"]), grant)

    ways: tuple[Callable[[], Asker], ...] = (
        lambda: account.asker,
        lambda: gateway.session("kaito"),
        lambda: notebook_of("a.ipynb"),
        lambda: notebook_of("b.ipynb"),
        lambda: notebook_of("b.ipynb"),  # restarted
        lambda: gateway.session("aiko"),
    )
    answers = [account.ask(sql, asker=way()) for way in ways]
    assert [answer["charged"] for answer in answers if answer] == [True, *[False] * 5]
    assert len({answer["release"] for answer in answers if answer}) == 1
    assert account.spent() - before == account.charged * RHO == RHO


def test_what_is_paid_again_is_drawn_again_and_the_account_shows_each(account: Account) -> None:
    """Averaging has its price: so many draws, so many charges."""
    before = account.spent()
    prices = [RHO + number * Decimal("0.000001") for number in range(12)]
    sql = "SELECT COUNT(*) AS n FROM sessions WHERE pages > 13"
    for _ in range(2):
        for price in prices:
            account.ask(sql, str(price))
    assert account.charged == len(prices)
    assert account.spent() - before == sum(prices)
    assert 2 <= len(account.draws[()]) <= len(prices)


def test_two_questions_that_differ_in_one_group_are_two_charges(account: Account) -> None:
    before = account.spent()
    for pages in range(20, 26):
        for sign in (">", ">="):
            account.ask(f"SELECT COUNT(*) AS n FROM sessions WHERE pages {sign} {pages}")
    assert account.spent() - before == account.charged * RHO
    assert account.charged >= 7  # thirteen sets of rows at the most, of which no two are known to be the same


def test_stores_built_again_from_the_same_inputs_answer_from_the_record(world: World) -> None:
    sql = "SELECT device, COUNT(*) AS n FROM sessions GROUP BY device"
    with world.gateway() as gateway:
        account = Account(gateway.session("aiko"))
        first, before, stores = account.ask(sql), account.spent(), world.store("service-improvement").parent
        world.kai("build", "--as-of", "2026-10-31")  # another day, another snapshot: another draw, and paid for
        other = account.ask(sql)
        shutil.rmtree(stores)
        assert "Published" in world.kai("build", "--as-of", AS_OF)
        assert world.store("service-improvement").parent == stores
        again = account.ask(sql)
        assert first and other and again
        assert first["release"] == again["release"] != other["release"]
        assert [answer["charged"] for answer in (first, other, again)] == [True, True, False]
        assert account.spent() - before == RHO
