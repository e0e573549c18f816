"""TPC-H at scale 1 as somebody's data: the unit is the customer; parts, suppliers, nations and regions are public.

The tables come from PyPI `tpchgen-cli`, in an environment of its own that the user's cache keeps. Orders and lineitems
carry their customer's key, as any source about people must; the exact queries run on the original tables without it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from accuracy.environments import environment

from kaianalytics.policy.contract import DataContract
from kaianalytics.privacy.unit import ContributionBounds, Profile
from speed.contracts import column, key, product, public, quantiles

TABLES = ("customer", "orders", "lineitem", "part", "supplier", "nation", "region")
_PINS = Path(__file__).resolve().parent
_CENT = {"step": Decimal("0.01")}
REGIONS = ("AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST")
NATIONS = (
    *(
        "ALGERIA",
        "ARGENTINA",
        "BRAZIL",
        "CANADA",
        "CHINA",
        "EGYPT",
        "ETHIOPIA",
        "FRANCE",
        "GERMANY",
        "INDIA",
        "INDONESIA",
    ),
    *("IRAN", "IRAQ", "JAPAN", "JORDAN", "KENYA", "MOROCCO", "MOZAMBIQUE", "PERU", "ROMANIA", "RUSSIA", "SAUDI ARABIA"),
    *("UNITED KINGDOM", "UNITED STATES", "VIETNAM"),
)


def generated(folder: Path, tables: Sequence[str] = TABLES) -> str:
    """Write the tables into the folder as Parquet; why not, where the generator can't be had."""
    made = environment("tpchgen", _PINS)
    if made.python is None:
        return made.absent
    generator = str(made.python.parent / "tpchgen-cli")
    command = [generator, "parquet", "-s", "1", f"--output-dir={folder}", f"--tables={','.join(tables)}", "--quiet"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stderr.strip()[-200:] or f"it ended with {ran.returncode}"


def originals(folder: Path) -> dict[str, str]:
    """What stands after FROM for each original table."""
    return {name: f"read_parquet('{folder / name}.parquet')" for name in TABLES}


def sources(folder: Path) -> dict[str, str]:
    """The same with the customer's key in lineitem."""
    original = originals(folder)
    joined = f"{original['lineitem']} AS l JOIN {original['orders']} AS o ON l_orderkey = o_orderkey"
    return {**original, "lineitem": f"(SELECT l.*, o_custkey AS l_custkey FROM {joined})"}


def contracts() -> dict[str, DataContract]:
    """What the owner of such data would declare, in round figures: no order has more than 7 lines of 50 pieces each."""
    about_customers = (
        product(
            "customer", "c_custkey",
            [
                key("c_custkey", "customer", primary_key=True),
                column("c_nationkey", "integer", references=("nation.n_nationkey",), range=("0", "24")),
                column("c_mktsegment", "string"),
            ],
            ContributionBounds(rows=1),
        ),
        product(
            "orders", "o_custkey",
            [
                key("o_orderkey", "order", primary_key=True),
                key("o_custkey", "customer", references=("customer.c_custkey",)),
                column("o_orderdate", "date", range=("1992-01-01", "1998-08-02")),
                column("o_totalprice", "number", range=("0", "600000"), **_CENT),
            ],
            ContributionBounds(rows=50),
            Profile(100_000, quantiles(p25=10, p50=14, p75=20, p90=24, p99=30, p100=41)),
        ),
        product(
            "lineitem", "l_custkey",
            [
                key("l_orderkey", "order", references=("orders.o_orderkey",)),
                key("l_custkey", "customer", references=("customer.c_custkey",)),
                column("l_partkey", "integer", references=("part.p_partkey",)),
                column("l_suppkey", "integer", references=("supplier.s_suppkey",)),
                column("l_quantity", "number", range=("0", "50"), step=Decimal(1)),
                column("l_extendedprice", "number", range=("0", "105000"), **_CENT),
                column("l_discount", "number", range=("0", "0.1"), **_CENT),
                column("l_tax", "number", range=("0", "0.08"), **_CENT),
                column("l_returnflag", "string", enum=("A", "N", "R")),
                column("l_linestatus", "string", enum=("F", "O")),
                column("l_shipdate", "date", range=("1992-01-01", "1998-12-31")),
                column("l_shipinstruct", "string",
                       enum=("COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN")),
                column("l_shipmode", "string", enum=("AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK")),
            ],
            ContributionBounds(rows=200),
            Profile(
                100_000,
                quantiles(p10=28, p25=39, p50=57, p75=79, p90=97, p99=124, p100=180),
                {
                    "l_quantity": quantiles(p10=700, p50=1_450, p90=2_500, p99=3_200, p100=5_000),
                    "l_extendedprice": quantiles(p10=1e6, p50=2.2e6, p90=3.7e6, p99=4.8e6, p100=7.2e6),
                },
            ),
        ),
    )  # fmt: skip
    about_nobody = (
        product("part", None, [
            public("p_partkey", "integer", primary_key=True), public("p_brand", "string"), public("p_type", "string"),
            public("p_size", "integer"), public("p_container", "string"),
        ]),
        product("supplier", None, [
            public("s_suppkey", "integer", primary_key=True),
            public("s_nationkey", "integer", references=("nation.n_nationkey",)),
        ]),
        product("nation", None, [
            public("n_nationkey", "integer", primary_key=True), public("n_name", "string", enum=NATIONS),
            public("n_regionkey", "integer", references=("region.r_regionkey",)),
        ]),
        product("region", None, [
            public("r_regionkey", "integer", primary_key=True), public("r_name", "string", enum=REGIONS),
        ]),
    )  # fmt: skip
    return {each.product: each for each in (*about_customers, *about_nobody)}


# The exact text and ours, which names its joins. Where one text stands, it is both.
QUERIES: dict[str, tuple[str, ...]] = {
    "Q1": (
        """SELECT l_returnflag, l_linestatus, SUM(l_quantity) AS sum_qty, SUM(l_extendedprice) AS sum_base_price,
        SUM(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
        SUM(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, AVG(l_quantity) AS avg_qty,
        AVG(l_extendedprice) AS avg_price, AVG(l_discount) AS avg_disc, COUNT(*) AS count_order
        FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus""",
    ),
    "Q5": (
        """SELECT n_name, SUM(l_extendedprice * (1 - l_discount)) AS revenue
        FROM customer, orders, lineitem, supplier, nation, region
        WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
        AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA'
        AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1995-01-01' GROUP BY n_name""",
        """SELECT n_name, SUM(l_extendedprice * (1 - l_discount)) AS revenue
        FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey
        JOIN supplier ON l_suppkey = s_suppkey JOIN nation ON s_nationkey = n_nationkey
        JOIN region ON n_regionkey = r_regionkey
        WHERE c_nationkey = s_nationkey AND r_name = 'ASIA'
        AND o_orderdate >= DATE '1994-01-01' AND o_orderdate < DATE '1995-01-01' GROUP BY n_name""",
    ),
    "Q6": (
        """SELECT SUM(l_extendedprice * l_discount) AS revenue FROM lineitem
        WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
        AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24""",
    ),
    "Q14": (
        """SELECT 100.00 * SUM(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END)
        / SUM(l_extendedprice * (1 - l_discount)) AS promo_revenue
        FROM lineitem JOIN part ON l_partkey = p_partkey
        WHERE l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-10-01'""",
    ),
    "Q19": (
        """SELECT SUM(l_extendedprice * (1 - l_discount)) AS revenue FROM lineitem JOIN part ON p_partkey = l_partkey
        WHERE l_shipmode IN ('AIR', 'REG AIR') AND l_shipinstruct = 'DELIVER IN PERSON' AND (
        (p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
         AND l_quantity BETWEEN 1 AND 11 AND p_size BETWEEN 1 AND 5)
        OR (p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
         AND l_quantity BETWEEN 10 AND 20 AND p_size BETWEEN 1 AND 10)
        OR (p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
         AND l_quantity BETWEEN 20 AND 30 AND p_size BETWEEN 1 AND 15))""",
    ),
}
