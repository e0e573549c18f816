"""The sample warehouse: the same bytes for the same arguments, honest in what is missing, and with findings in it."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "pipelines"))

from sample_warehouse import Summary, generate  # noqa: E402  # a pipeline is a script: its folder goes on the path first

from kaianalytics.custody.contracts import load  # noqa: E402  # as above
from kaianalytics.warehouse.sources import Sources  # noqa: E402  # as above

CUSTOMERS = 20_000


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return generate(CUSTOMERS, tmp_path_factory.mktemp("sample"))


def ask(sample: Summary, sql: str) -> list[tuple[Any, ...]]:
    """The answer of `sql`, in which each table's name stands for its file."""
    with duckdb.connect() as con:
        for table in sample.rows:
            con.execute(f"CREATE VIEW {table} AS FROM read_parquet('{sample.folder / table}.parquet')")
        return con.execute(sql).fetchall()


def digest(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    generate(500, tmp_path / "one")
    command = [sys.executable, str(ROOT / "pipelines" / "sample_warehouse.py"), "--customers", "500"]
    subprocess.run([*command, "--out", str(tmp_path / "two")], check=True, capture_output=True)
    assert digest(tmp_path / "one") == digest(tmp_path / "two") and len(digest(tmp_path / "one")) == 8


def test_other_arguments_write_other_bytes(tmp_path: Path) -> None:
    generate(50, tmp_path / "one")
    generate(50, tmp_path / "two", date(2026, 11, 2))
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_one_customer_is_a_warehouse_and_none_is_not(tmp_path: Path) -> None:
    assert generate(1, tmp_path).rows["customers"] == 1
    with pytest.raises(ValueError):
        generate(0, tmp_path)


def test_the_sources_are_as_the_contracts_say(sample: Summary) -> None:
    with duckdb.connect() as con:
        sources = Sources(con, sample.folder)
        for contract in load(ROOT / "data_contracts").products.values():
            assert sources.open(contract).ignored == ()


def test_the_year_ends_on_the_day_before_the_as_of_date(sample: Summary) -> None:
    [(first, last)] = ask(sample, "SELECT min(started_at)::DATE, max(started_at)::DATE FROM sessions")
    assert (first, last) == (date(2025, 11, 1), date(2026, 10, 31))


def test_every_reference_leads_to_a_customer(sample: Summary) -> None:
    for table in sample.rows:
        named = f"(SELECT customer_id FROM {table} WHERE customer_id IS NOT NULL)"
        orphans = f"SELECT count(*) FROM {named} ANTI JOIN customers USING (customer_id)"
        assert ask(sample, orphans) == [(0,)]


def test_nobody_does_anything_before_joining(sample: Summary) -> None:
    early = "SELECT count(*) FROM {} JOIN customers USING (customer_id) WHERE {}::DATE < registered_on"
    for table, at in (("sessions", "started_at"), ("orders", "ordered_at"), ("consents", "decided_at")):
        assert ask(sample, early.format(table, at)) == [(0,)]


def test_most_do_little_and_a_few_do_thousands_of_things(sample: Summary) -> None:
    counts = "(SELECT count(*) AS n FROM sessions WHERE customer_id IS NOT NULL GROUP BY customer_id)"
    [(median, most, heavy)] = ask(sample, f"SELECT median(n), max(n), count(*) FILTER (n > 1000) FROM {counts}")
    assert 2 <= median <= 8 and most > 2000 and 1 <= heavy <= 10


def test_information_is_missing_where_giving_it_is_voluntary(sample: Summary) -> None:
    [shares] = ask(
        sample,
        "SELECT count(birth_date) / count(*), count(gender) / count(*), count(prefecture) / count(*), "
        "(SELECT count(customer_id) / count(*) FROM sessions), count(registered_on) / count(*) FROM customers",
    )
    assert all(0.7 < share < 0.97 for share in shares[:4]) and shares[4] == 1


def test_three_countries_and_telephones_in_two_widths(sample: Summary) -> None:
    assert {c for (c,) in ask(sample, "SELECT DISTINCT country FROM customers")} == {"JP", "TW", "DE"}
    widths = "SELECT count(*) FROM customers WHERE regexp_matches(telephone, '{}')"
    [(wide,)], [(narrow,)] = ask(sample, widths.format("[０-９]")), ask(sample, widths.format("[0-9]"))
    assert 0 < wide < narrow


def test_choices_and_stops_of_every_kind(sample: Summary) -> None:
    kinds = ask(sample, "SELECT DISTINCT choice, state FROM consents")
    assert len(kinds) == 4 * 3
    assert {s for (s,) in ask(sample, "SELECT DISTINCT scope FROM stop_requests")} >= {"all", "ad-targeting"}
    changed = (
        "SELECT count(*) FROM (SELECT 1 FROM consents GROUP BY customer_id, choice HAVING count(DISTINCT state) > 1)"
    )
    assert ask(sample, changed)[0][0] > 1000


def test_free_text_holds_what_no_purpose_may_see(sample: Summary) -> None:
    assert ask(sample, "SELECT count(*) FROM inquiries WHERE NOT contains(text, customer_id)") == [(0,)]
    assert ask(sample, "SELECT count(*) FROM sessions WHERE contains(referrer, 'u=C0')")[0][0] > 100


def test_the_autumn_coupon_works_and_the_push_does_not(sample: Summary) -> None:
    by_arm = ask(sample, "SELECT campaign, arm, avg(converted::INT) FROM campaign_contacts GROUP BY ALL")
    rates = {(campaign, arm): rate for campaign, arm, rate in by_arm}
    assert rates["autumn-coupon", "treatment"] - rates["autumn-coupon", "holdout"] > 0.01
    assert abs(rates["app-push", "treatment"] - rates["app-push", "holdout"]) < 0.01
    assert ask(sample, "SELECT count(*) FROM campaign_contacts WHERE converted <> (spend_yen > 0)") == [(0,)]


def test_search_is_clicked_most_and_the_phone_grows(sample: Summary) -> None:
    best = "SELECT placement FROM ad_impressions GROUP BY 1 ORDER BY avg(clicked::INT) DESC LIMIT 1"
    assert ask(sample, best) == [("search",)]
    phone = "SELECT avg((device = 'phone')::INT) FROM sessions WHERE started_at {} '2026-05-01'"
    [(before,)], [(after,)] = ask(sample, phone.format("<")), ask(sample, phone.format(">="))
    assert after > before + 0.04


def test_weekends_bring_more_sessions(sample: Summary) -> None:
    per_day = "SELECT count(*) / {} FROM sessions WHERE isodow(started_at) {} 5"
    [(weekend,)], [(weekday,)] = ask(sample, per_day.format(2, ">")), ask(sample, per_day.format(5, "<="))
    assert weekend > 1.15 * weekday
