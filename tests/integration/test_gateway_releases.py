"""What is free and what is not: plans, repeats, other names for one measurement, earlier answers, and what is left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from support.real_world import AS_OF, Asker, Gateway, World, notebook, refusal

from kaianalytics.protocol import API

BY_DEVICE = "SELECT device, COUNT(*) AS n, SUM(pages) AS p FROM sessions WHERE pages < {} GROUP BY device"


@pytest.fixture
def asker(gateway: Gateway) -> Asker:
    return gateway.session()


def release(answer: dict[str, Any]) -> dict[str, Any]:
    """What was released."""
    made: dict[str, Any] = json.loads(answer["release"])
    return made


def spent(asker: Asker, name: str = "account") -> Decimal:
    lines = asker.door.request_json("GET", f"{API}/budget")["lines"]
    return Decimal(next(line["spent"] for line in lines if line["name"] == name))


# One measurement, one draw


def test_other_names_order_and_arithmetic_over_the_same_measures_get_the_same_noise_free(asker: Asker) -> None:
    first = asker.stats(BY_DEVICE.format(3), "0.002")
    figures = {row[0]: row[1:] for row in release(first)["rows"]}
    before = spent(asker)
    others = (
        "SELECT device AS d, COUNT(*) AS visits, SUM(pages) AS seen FROM sessions WHERE pages < 3 GROUP BY device",
        "SELECT COUNT(*) AS n, SUM(pages) AS p, device FROM sessions WHERE pages < 3 GROUP BY device",
        "SELECT device, COUNT(*) AS n, SUM(pages) AS p FROM sessions WHERE pages < 3 GROUP BY ALL ORDER BY n",
        "SELECT device, COUNT(*) AS n, SUM(pages) AS p FROM sessions AS s WHERE s.pages < 3 GROUP BY 1 LIMIT 2",
        "SELECT device, COUNT(*) AS n, SUM(pages) AS p FROM (SELECT * FROM sessions) WHERE pages < 3 GROUP BY 1",
        "WITH w AS (SELECT device, pages FROM sessions WHERE pages < 3) "
        "SELECT device, COUNT(*) AS n, SUM(pages) AS p FROM w GROUP BY device HAVING n > -1000000",
    )
    for sql in others:
        answer = asker.stats(sql, "0.002")
        assert not answer["charged"], sql
        rows, keys = release(answer)["rows"], [column["role"] for column in release(answer)["columns"]]
        at = keys.index("key")
        assert rows and all(figures[row[at]] == [value for i, value in enumerate(row) if i != at] for row in rows), sql
        assert release(answer)["release_id"] == release(first)["release_id"]
    turned = asker.stats(
        "SELECT SUM(pages) AS p, device, COUNT(*) AS n FROM sessions WHERE pages < 3 GROUP BY 2", "0.002"
    )
    assert not turned["charged"] and {row[1]: [row[2], row[0]] for row in release(turned)["rows"]} == figures
    computed = release(asker.stats(BY_DEVICE.format(3).replace("AS n", "* 2 AS n"), "0.002"))
    twice = {key: 2 * n for key, (n, _) in figures.items()}  # of counts that were rounded to be shown
    assert all(abs(row[1] - twice.pop(row[0])) <= 1 for row in computed["rows"]) and not twice
    assert spent(asker) == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT device, COUNT(*) AS n, SUM(pages) AS p, AVG(seconds) AS s FROM sessions WHERE pages < 4 GROUP BY 1",
        "SELECT service, COUNT(*) AS n, SUM(pages) AS p FROM sessions WHERE pages < 4 GROUP BY service",
        "SELECT device, COUNT(*) AS n, SUM(pages) AS p FROM sessions WHERE pages <= 3 GROUP BY device",
        "SELECT device, COUNT(*) AS n FROM sessions WHERE pages < 4 GROUP BY device",
    ],
)
def test_fresh_noise_is_never_free(asker: Asker, sql: str) -> None:
    first = asker.stats(BY_DEVICE.format(4), "0.0021")
    answer = asker.stats(sql, "0.0021")
    assert answer["charged"] and release(answer)["release_id"] != release(first)["release_id"]


def test_repeating_renaming_and_asking_from_many_kernels_at_once_draws_once(gateway: Gateway) -> None:
    names = [f"n{number}" for number in range(4)]
    askers = [gateway.session(user) for user in ("aiko", "kaito") for _ in range(2)]
    together = threading.Barrier(16)

    def ask(number: int) -> dict[str, Any]:
        together.wait()
        return askers[number % 4].stats(f"SELECT COUNT(*)   AS {names[number // 4]} FROM sessions --{number}", "0.0022")

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(16)))
    assert sum(answer["charged"] for answer in answers) == 1
    assert len({release(answer)["rows"][0][0] for answer in answers}) == 1
    assert len({answer["release"] for answer in answers}) == len(names)  # one answer for each name, the same for all


def test_tables_and_bounds_are_part_of_the_question(asker: Asker) -> None:
    sql = "SELECT kind, COUNT(*) AS n FROM sessions JOIN t ON sessions.device = t.device GROUP BY kind"
    body = {"sql": sql, "rho": "0.002", "tables": {"t": {"device": ["phone", "tablet"], "kind": ["hand", "hand"]}}}

    def ask(**changed: Any) -> dict[str, Any]:
        answer: dict[str, Any] = asker.door.request_json("POST", f"{API}/statistics", body | changed)
        return answer

    first, again = ask(), ask()
    other_values = ask(tables={"t": {"device": ["phone", "tablet"], "kind": ["hand", "lap"]}})
    bounded = ask(bounds={"rows": 2})
    charged = [answer["charged"] for answer in (first, again, other_values, bounded)]
    assert charged == [True, False, True, True]
    assert first["release"] == again["release"]
    assert [row[0] for row in release(other_values)["rows"]] == ["hand", "lap"]
    [asked] = [event for event in asker_events(asker) if event.get("outcome") == "charged" and event["tables"]][:1]
    assert set(asked["tables"]) == {"t"} and "phone" not in json.dumps(asked["tables"])


def asker_events(asker: Asker) -> list[dict[str, Any]]:
    return [event.facts() for event in GATEWAY[0].world.events("statistics.asked")]


GATEWAY: list[Gateway] = []


@pytest.fixture(autouse=True)
def _known(gateway: Gateway) -> Iterator[None]:
    GATEWAY[:] = [gateway]
    yield


# Before asking


def test_a_plan_reads_nothing_charges_nothing_and_is_recorded(gateway: Gateway, asker: Asker) -> None:
    before, last = spent(asker), gateway.world.last_event()
    sql = "SELECT service, COUNT(*) AS n, AVG(pages) AS p FROM sessions GROUP BY service"

    def plan(**body: Any) -> dict[str, Any]:
        made: dict[str, Any] = asker.door.request_json("POST", f"{API}/statistics/plan", {"sql": sql, **body})
        return made

    told = plan(rho="0.003")
    exact = plan(accuracy={"n": str(told["figures"][0]["half_width"] / 2)})
    assert [figure["half_width"] is None for figure in told["figures"]] == [False, True]
    assert exact["figures"][0]["half_width"] <= told["figures"][0]["half_width"] / 2
    assert Decimal(exact["rho"]) > Decimal(told["rho"]) == Decimal("0.003") == Decimal(told["account_rho"])
    assert (told["cells"], told["threshold"], told["windows"]) == (4, None, [])
    assert told["questions_left"] > exact["questions_left"] >= 0
    assert spent(asker) == before
    kinds = [event.kind for event in gateway.world.events(after=last)]
    assert kinds == ["statistics.planned"] * 2
    answer = asker.stats(sql, "0.003")
    assert release(answer)["margins"][0][1] == told["figures"][0]["half_width"]


def test_an_accuracy_is_bought_at_the_price_that_was_told_and_kept(asker: Asker) -> None:
    sql = {"sql": "SELECT COUNT(*) AS n FROM sessions WHERE pages > 2"}
    at = asker.door.request_json("POST", f"{API}/statistics/plan", sql | {"rho": "0.002"})
    wanted = round(at["figures"][0]["half_width"] * 1.2)
    told = asker.door.request_json("POST", f"{API}/statistics/plan", sql | {"accuracy": str(wanted)})
    answer = asker.door.request_json("POST", f"{API}/statistics", sql | {"accuracy": str(wanted)})
    again = asker.door.request_json("POST", f"{API}/statistics", sql | {"accuracy": f"{wanted}.0"})
    assert release(answer)["rho"] == told["rho"] < "0.002"
    assert release(answer)["margins"][0][0] <= wanted
    assert answer["charged"] and not again["charged"]


def test_the_budget_says_how_many_more_such_questions_at_which_price_and_who_gives_more(asker: Asker) -> None:
    asker.stats("SELECT COUNT(*) AS n FROM sessions WHERE pages > 3", "0.004")
    budget = asker.door.request_json("GET", f"{API}/budget")
    left = min(Decimal(line["remaining"]) for line in budget["lines"] if not line["name"].startswith("window"))
    assert (budget["price"], budget["questions_left"]) == ("0.004", int(left / Decimal("0.004")))
    stated = asker.door.request_json("GET", f"{API}/budget?rho=0.05")
    assert (stated["price"], stated["questions_left"]) == ("0.05", int(left / Decimal("0.05")))
    assert "sora" in budget["ask"] and "kai budget raise" in budget["ask"]
    assert [line["name"] for line in budget["lines"]][:2] == ["account", "purpose"]
    assert asker.door.request_json("GET", f"{API}/budget?population=customers") == budget
    unknown = refusal(lambda: asker.door.request_json("GET", f"{API}/budget?population=staff"))
    assert unknown.code == "POPULATION_UNKNOWN" and "customers" in str(unknown.hint)
    for wrong in ("0", "-1", "NaN", "x"):
        assert refusal(lambda wrong=wrong: asker.door.request_json("GET", f"{API}/budget?rho={wrong}")).code == "RHO"


def test_before_the_first_question_no_price_is_made_up(gateway: Gateway) -> None:
    budget = gateway.session("kaito", "service-improvement").door.request_json("GET", f"{API}/budget")
    asked = [event for event in gateway.world.events("statistics.asked") if event.actor == "kaito"]
    first = not any(event.facts()["outcome"] == "charged" for event in asked)
    assert (budget["questions_left"] is None) == first
    assert not first or "Name a price" in budget["note"]


# Earlier answers


def earlier(asker: Asker, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asker.door.request_json("GET", f"{API}/releases{query}")["releases"]
    return found


def test_earlier_answers_are_shown_as_recorded_newest_first_to_the_purpose_alone(
    gateway: Gateway, asker: Asker
) -> None:
    sent = [asker.stats(f"SELECT COUNT(*) AS earlier{n} FROM sessions WHERE pages > {n}", "0.0005") for n in (5, 6)]
    other = gateway.session("aiko", "ad-targeting")
    other.stats("SELECT COUNT(*) AS earlier7 FROM sessions", "0.0005")
    last = gateway.world.last_event()
    shown = earlier(gateway.session("kaito"), "?contains=EARLIER")
    assert [each["release"] for each in shown] == [answer["release"] for answer in reversed(sent)]
    assert all(each["at"].endswith("Z") for each in shown)
    [event] = gateway.world.events("releases.shown", after=last)
    assert event.actor == "kaito"
    assert event.facts()["releases"] == [release(answer)["release_id"] for answer in reversed(sent)]
    assert [release(each)["purpose"] for each in earlier(other, "?contains=earlier")] == ["ad-targeting"]
    assert earlier(asker, "?view=orders&contains=earlier") == []
    # the register lets ad targeting be shown the answers of service improvement, and nothing else of the kind
    assert earlier(other, "?contains=EARLIER&purpose=service-improvement") == shown
    [*_, seen] = gateway.world.events("releases.shown", after=last)
    assert (seen.actor, seen.facts()["of"]) == ("aiko", "service-improvement")
    for session, wrong in ((other, "campaign-analysis"), (other, "customer-care"), (asker, "ad-targeting")):
        refused = refusal(lambda session=session, wrong=wrong: earlier(session, f"?purpose={wrong}"))
        assert refused.code == "RELEASES_OF_PURPOSE" and refused.hint
    assert len(earlier(asker, "?view=sessions&contains=earlier")) == 2


def test_earlier_answers_take_a_token_that_stands_and_a_text_that_is_one(gateway: Gateway, asker: Asker) -> None:
    assert refusal(lambda: earlier(asker, "?contains=" + "x" * 501)).code == "QUERY_TEXT"
    assert refusal(lambda: earlier(asker, "?contains=%00")).code == "QUERY_TEXT"
    nobody = gateway.door("x.y.z")
    assert refusal(lambda: nobody.request_json("GET", f"{API}/releases")).code == "TOKEN_INVALID"
    assert refusal(lambda: gateway.as_("aiko").request_json("GET", f"{API}/releases")).code == "TOKEN_INVALID"


def test_a_run_that_shows_earlier_answers_uses_them_and_its_page_says_so(gateway: Gateway) -> None:
    source = notebook("kai.releases()", "1 + 2")
    asked = {"report": "trend", "title": "T", "notebook": source, "parameters": {}, "cadence": "weekly"}
    asked |= {"rho_per_run": "0.0006"}
    review = gateway.as_("aiko").request_json("POST", f"{API}/submissions", asked)["id"]
    approve = {"action": "approve", "note": ""}
    gateway.as_("ren").request_json("POST", f"{API}/reviews/{review}/decision", approve)
    past = gateway.session().stats("SELECT COUNT(*) AS trend FROM sessions WHERE pages = 7", "0.0006")
    gateway.world.kai("stop", "C0000009", "--scope", "ad-targeting")  # a later epoch: another snapshot
    body = {"report": "trend", "notebook": source, "parameters": {}}
    grant = gateway.as_("runner").request_json("POST", f"{API}/runs", body)
    run = Asker(grant["session"]["token"], gateway.door(grant["session"]["token"]), grant["session"])
    assert [each["release"] for each in earlier(run, "?contains=trend")] == [past["release"]]
    now = run.stats("SELECT COUNT(*) AS trend FROM sessions WHERE pages = 7", "0.0006")
    assert now["charged"] and release(now)["snapshot"] != release(past)["snapshot"]
    finish = f"{API}/runs/{grant['run']}/finish"
    published = gateway.as_("runner").request_json("POST", finish, {"notebook": source, "failed": False})
    page = (gateway.world.home.root / published["page"]).read_text(encoding="utf-8")
    footer = page[page.index('<footer class="kai">') :]
    numbers = [release(answer)["release_id"] for answer in (past, now)]
    assert f"releases {numbers[0]} as they were answered on snapshot {release(past)['snapshot']}" in footer
    provenance = json.loads((gateway.world.home.root / published["page"]).with_name("provenance.json").read_text())
    assert provenance["releases"] == [numbers[1]]
    assert provenance["earlier"] == [[release(past)["snapshot"], [numbers[0]]]]
    assert published["rho"] == "0.0006"
    assert refusal(lambda: earlier(run)).code == "RUN_FINISHED"


# Windows


OCTOBER = "ordered_at >= DATE '2026-10-01' AND ordered_at < DATE '2026-11-01'"
AUTUMN = "ordered_at >= DATE '2026-08-01' AND ordered_at < DATE '2026-11-01'"


def test_a_question_is_charged_to_the_windows_that_its_literals_prove_and_squared_to_the_account(asker: Asker) -> None:
    before = spent(asker)
    one = asker.stats(f"SELECT COUNT(*) AS n FROM orders WHERE {OCTOBER}", "0.001")
    assert release(one)["windows"] == ["2026-10-01"] and release(one)["rho"] == "0.001"
    assert spent(asker) == before + Decimal("0.001")
    assert one["lost"]["window 2026-10-01/month"] == one["lost"]["customer-year 2026"] == "0.001"
    several = asker.stats(f"SELECT COUNT(*) AS n FROM orders WHERE {AUTUMN}", "0.002")
    assert release(several)["windows"] == ["2026-08-01", "2026-09-01", "2026-10-01"]
    assert spent(asker) == before + Decimal("0.001") + 9 * Decimal("0.002")
    assert several["lost"] == {
        "window 2026-08-01/month": "0.002",
        "window 2026-09-01/month": "0.002",
        "window 2026-10-01/month": "0.003",
        "customer-year 2026": "0.019",
    }
    assert several["remaining"]["window 2026-10-01/month"] == "0.047"
    budget = asker.door.request_json("GET", f"{API}/budget")
    assert budget["years"][0]["year"] == 2026 and budget["years"][0]["rho"] == "0.019"
    assert budget["price"] == "0.002" and "over 3 windows" in budget["note"]


def test_without_provable_bounds_all_windows_are_read_and_the_plan_says_what_that_costs(asker: Asker) -> None:
    for where in ("", " WHERE ordered_at > DATE '2026-10-01' OR quantity > 2", " WHERE quantity > 1"):
        body = {"sql": f"SELECT COUNT(*) AS n FROM orders{where}", "rho": "0.0001"}
        told = asker.door.request_json("POST", f"{API}/statistics/plan", body)
        assert len(told["windows"]) >= 12
        assert Decimal(told["account_rho"]) == len(told["windows"]) ** 2 * Decimal("0.0001")
    dear = refusal(lambda: asker.stats("SELECT COUNT(*) AS n FROM orders", "0.01"))
    assert dear.code == "ACCOUNT_SPENT" and "windows" in dear.message


def test_a_spent_window_is_refused_and_the_next_one_is_fresh(gateway: Gateway, asker: Asker) -> None:
    march = "ordered_at >= DATE '2026-03-01' AND ordered_at < DATE '2026-04-01'"
    before = spent(asker)
    asker.stats(f"SELECT COUNT(*) AS n FROM orders WHERE {march}", "0.05")
    over = refusal(lambda: asker.stats(f"SELECT COUNT(*) AS n FROM orders WHERE {march} AND quantity > 1", "0.0001"))
    assert over.code == "WINDOW_CAP" and "2026-03-01/month" in over.message
    april = march.replace("-04-", "-05-").replace("-03-", "-04-")
    assert asker.stats(f"SELECT COUNT(*) AS n FROM orders WHERE {april}", "0.0001")["charged"]
    assert spent(asker) == before + Decimal("0.0501")
    gateway.world.kai(
        *("budget", "raise", "--steward", "sora", "--reason", "an audit of March", "--rho", "0.06"),
        *("--window", "2026-03-01/month"),
    )
    assert asker.stats(f"SELECT COUNT(*) AS n FROM orders WHERE {march} AND quantity > 1", "0.0001")["charged"]


def test_keys_that_nobody_declared_are_found_at_the_contracts_delta_which_adds_up(asker: Asker) -> None:
    lines = {line["name"]: line for line in asker.door.request_json("GET", f"{API}/budget")["lines"]}
    answer = asker.stats("SELECT seconds // 600 AS tens, COUNT(*) AS n FROM sessions GROUP BY 1", "0.01")
    made = release(answer)
    assert 0 < Decimal(made["delta"]) <= Decimal("0.00000001")
    assert any("held back" in note for note in made["notes"])
    after = {line["name"]: line for line in asker.door.request_json("GET", f"{API}/budget")["lines"]}
    for name in ("account", "purpose", "analyst"):
        spent_delta = Decimal(lines[name]["delta_remaining"]) - Decimal(after[name]["delta_remaining"])
        assert spent_delta == Decimal(made["delta"])
    assert not asker.stats("SELECT seconds // 600 AS t, COUNT(*) AS m FROM sessions GROUP BY 1", "0.01")["charged"]


# Bounds from the data


def private(asker: Asker, sql: str, rho: str, bounds: str | None = "private") -> dict[str, Any]:
    answer: dict[str, Any] = asker.door.request_json(
        "POST", f"{API}/statistics", {"sql": sql, "rho": rho, "bounds": bounds}
    )
    return answer


def test_bounds_are_found_within_one_charge_and_the_release_says_what_that_cost_and_found(asker: Asker) -> None:
    before, sql = spent(asker), "SELECT device, COUNT(*) AS n FROM sessions WHERE pages > 1 GROUP BY device"
    answer = private(asker, sql, "0.006")
    made = release(answer)
    assert spent(asker) == before + Decimal("0.006") and made["rho"] == "0.006"
    assert made["bounds"]["found_at_rho"] == "0.0006" and made["bounds"]["units_found"] > 100
    assert set(made["bounds"]["at_most"]["n"]) == {"50%", "90%", "99%"}
    assert any("twice the noise" in sentence for sentence in made["bounds"]["clipping"])
    certificate = made["certificate"]
    parts = [certificate[part]["rho_units"] for part in ("loss",)] + [certificate["finding"]["loss"]["rho_units"]]
    assert sum(parts) == 6 * 10**9
    assert certificate["profile"]["units"] == made["bounds"]["units_found"]
    again, renamed = private(asker, sql, "0.006"), private(asker, sql.replace("AS n", "AS visits"), "0.006")
    assert again["release"] == answer["release"] and not again["charged"]
    assert not renamed["charged"]
    assert [row[1] for row in release(renamed)["rows"]] == [row[1] for row in made["rows"]]
    assert spent(asker) == before + Decimal("0.006")
    assert private(asker, sql, "0.006", None)["charged"]  # within the contract's bounds it is another question


def test_a_found_profile_chooses_the_bounds_of_later_questions_where_none_is_declared(world: World) -> None:
    world.edit("sessions.odcs.yaml", "- property: kai.profile", "- property: elsewhere.profile")
    world.kai("build", "--as-of", AS_OF)
    sql = "SELECT COUNT(*) AS n FROM sessions"
    with world.gateway() as gateway:
        asker = gateway.session()
        first = asker.stats(sql, "0.004")
        assert "clipping" not in release(first)["bounds"]
        found = release(private(asker, sql, "0.01"))
        assert asker.stats(sql, "0.004")["release"] == first["release"]  # what was answered is repeated as it was
        later = asker.stats(sql.replace("AS n", "AS later"), "0.0041")
        assert release(later)["bounds"]["clipping"]
        assert release(later)["margins"][0][0] < release(first)["margins"][0][0]
        assert release(later)["certificate"]["profile"] == found["certificate"]["profile"]
        elsewhere = gateway.session("aiko", "ad-targeting").stats(sql, "0.0041")
        assert "clipping" not in release(elsewhere)["bounds"]  # found for one purpose, and used for it alone
        for number in (found["release_id"], release(later)["release_id"]):
            assert "holds" in world.kai("release", "verify", str(number))
