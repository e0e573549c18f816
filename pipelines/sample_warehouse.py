"""The sample warehouse: a year of an invented group's services, written as the Parquet files of its sources.

    python pipelines/sample_warehouse.py --customers 20000 --out sources [--as-of 2026-11-01]

Laws: the same arguments write the same bytes (with the same locked libraries); nobody in it exists; each table can be
made at any scale, for numpy draws whole columns and no row is made by itself. The year ends on the day before the as-of
date.

What can be found in it: the phone's share of sessions grows from about 46% to 62%; `autumn-coupon` converts 8% of those
treated and 6% of its holdout, `app-push` changes nothing; advertisements in `search` are clicked most; weekends bring
more sessions. What makes it honest: most customers do little and a few do thousands of things, information is missing
where giving it is voluntary, one session in seven has no customer, and choices are refused, withdrawn and given again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sample_people import blank, joined, numbered, people

_SEED = 20220401
_DAYS = 365
_DAY = 86_400
_TABLES = ("customers", "consents", "sessions", "ad_impressions", "campaign_contacts", "orders", "inquiries",
           "stop_requests")  # fmt: skip

_DEVICES = ("phone", "computer", "tablet", "television")
_SERVICES = ("news", "shop", "video", "travel")
_PLACEMENTS = ("top", "article", "search", "app")
_CLICK_SHARES = (0.010, 0.014, 0.042, 0.021)
_TOPICS = ("electronics", "fashion", "food", "travel", "finance")
_CATEGORIES = ("electronics", "fashion", "food", "travel", "books")
_CATEGORY_LOG_YEN = (9.6, 8.6, 7.8, 10.2, 7.4)
_CHOICES = ("service-improvement", "ad-targeting", "campaign-analysis", "behavioural-advertising")
_REFUSED_SHARES = (0.04, 0.11, 0.06, 0.45)
_SCOPES = ("all", *_CHOICES[:3])
_HOURS = np.array([3, 2, 1, 1, 1, 2, 5, 8, 9, 7, 6, 7, 10, 8, 6, 6, 7, 8, 9, 11, 13, 14, 11, 6], dtype=float)
_WEEKDAYS = np.array([1.0, 0.97, 0.96, 0.98, 1.06, 1.28, 1.25])  # Monday first

_VOLUNTARY = ("family_name_kana", "given_name_kana", "email", "telephone", "postal_code", "prefecture", "address")
_MAY_BE_MISSING = {
    "customers": frozenset((*_VOLUNTARY, "birth_date", "gender")),
    "sessions": frozenset(("customer_id", "referrer")),
    "orders": frozenset(("delivery_note",)),
}


@dataclass(frozen=True)
class Campaign:
    """One campaign: when it ran (days after the year's first), whom it reached, and what share converted."""

    name: str
    first_day: int
    days: int
    reach: float
    holdout: float
    treatment: float


_CAMPAIGNS = (
    Campaign("autumn-coupon", first_day=10, days=14, reach=0.70, holdout=0.06, treatment=0.08),
    Campaign("new-year-mail", first_day=62, days=7, reach=0.45, holdout=0.050, treatment=0.057),
    Campaign("app-push", first_day=220, days=21, reach=0.40, holdout=0.04, treatment=0.04),
)


@dataclass(frozen=True)
class Summary:
    """What was written: the folder, the as-of date, and the rows of each table."""

    folder: Path
    as_of: date
    rows: Mapping[str, int]


@dataclass(frozen=True)
class Year:
    """What every table is drawn from: the first day, and of each customer the day of joining and the liveliness."""

    first: np.datetime64
    joined: np.ndarray  # days after the first day; negative for those who were there before
    liveliness: np.ndarray

    @property
    def customers(self) -> int:
        """How many customers there are."""
        return len(self.joined)


def generate(customers: int, out: Path, as_of: date = date(2026, 11, 1)) -> Summary:
    """Write the sample's eight tables for `customers` customers into the folder `out`; returns their row counts."""
    if customers < 1:
        raise ValueError("a warehouse has at least one customer")
    out.mkdir(parents=True, exist_ok=True)
    streams = dict(zip(("year", *_TABLES), np.random.SeedSequence(_SEED).spawn(len(_TABLES) + 1), strict=True))
    year = _year(np.random.default_rng(streams["year"]), customers, as_of)
    makers = (_customers, _consents, _sessions, _impressions, _contacts, _orders, _inquiries, _stops)
    rows = {}
    for table, make in zip(_TABLES, makers, strict=True):
        rows[table] = _write(out, table, make(np.random.default_rng(streams[table]), year))
    return Summary(out, as_of, rows)


def _year(rng: np.random.Generator, customers: int, as_of: date) -> Year:
    first = np.datetime64(as_of, "D") - _DAYS
    joined_on = np.where(
        rng.random(customers) < 0.8, -rng.integers(1, 3000, customers), rng.integers(0, 330, customers)
    )
    liveliness = rng.lognormal(0.0, 1.1, customers)
    tireless = rng.choice(customers, min(customers, 2 + customers // 20_000), replace=False)
    liveliness[tireless] = rng.uniform(500, 1500, len(tireless))
    joined_on[tireless] = -rng.integers(400, 3000, len(tireless))
    return Year(first, joined_on, liveliness)


def _customers(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    count = year.customers
    return {
        "customer_id": _customer_ids(np.arange(count)),
        **people(rng, count),
        "registered_on": pa.array(year.first + year.joined),
        "plan": _words(("free", "standard", "premium"), rng.choice(3, count, p=(0.71, 0.21, 0.08))),
    }


def _consents(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    """Answers to the four choices: three in four customers answered one, and one answer in eight was changed later."""
    asked, choice = np.nonzero(rng.random((year.customers, len(_CHOICES))) < 0.75)
    refused = rng.random(len(asked)) < np.array(_REFUSED_SHARES)[choice]
    first_at = _after_joining(rng, year, asked)
    changed = rng.random(len(asked)) < 1 / 8
    later_at = first_at[changed] + rng.integers(_DAY, 90 * _DAY, changed.sum())
    at = np.concatenate([first_at, np.minimum(later_at, _DAYS * _DAY - 1)])
    state = np.concatenate([np.where(refused, 1, 0), np.where(refused[changed], 0, 2)])
    order = np.argsort(at, kind="stable")
    everyone = np.concatenate([asked, asked[changed]])[order]
    return {
        "consent_id": numbered("A", np.arange(1, len(order) + 1), 8),
        "customer_id": _customer_ids(everyone),
        "choice": _words(_CHOICES, np.concatenate([choice, choice[changed]])[order]),
        "state": _words(("granted", "refused", "withdrawn"), state[order]),
        "decided_at": _times(year, at[order]),
    }


def _sessions(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    """The phone's share grows by the day; news is read on weekdays, the shop visited at weekends."""
    who, at = _events(rng, year, mean=4.2, growth=0.25)
    count, day = len(who), at // _DAY
    phone = rng.random(count) < 0.46 + 0.16 * day / _DAYS
    weekend = _weekday(year, day) >= 5
    on_weekends, on_weekdays = (
        rng.choice(4, count, p=(0.2, 0.38, 0.3, 0.12)),
        rng.choice(4, count, p=(0.4, 0.27, 0.23, 0.1)),
    )
    pages = 1 + rng.negative_binomial(1.4, 0.25, count)
    return {
        "session_id": numbered("S", np.arange(1, count + 1), 9),
        "customer_id": blank(_customer_ids(who), rng.random(count) < 1 / 7),
        "started_at": _times(year, at),
        "device": _words(_DEVICES, np.where(phone, 0, rng.choice((1, 2, 3), count, p=(0.72, 0.16, 0.12)))),
        "service": _words(_SERVICES, np.where(weekend, on_weekends, on_weekdays)),
        "pages": pa.array(np.minimum(pages, 200)),
        "seconds": pa.array(np.minimum(5 + pages * rng.lognormal(3.4, 0.8, count), 14_400).astype(np.int64)),
        "referrer": _referrers(rng, who),
    }


def _impressions(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    who, at = _events(rng, year, mean=5.0, growth=0.1)
    placement = rng.choice(4, len(who), p=(0.34, 0.38, 0.12, 0.16))
    sen = np.minimum(rng.lognormal(4.6, 0.6, len(who)) * (1 + 2 * (placement == 2)), 100_000).astype(np.int64)
    return {
        "impression_id": numbered("I", np.arange(1, len(who) + 1), 9),
        "customer_id": _customer_ids(who),
        "shown_at": _times(year, at),
        "placement": _words(_PLACEMENTS, placement),
        "topic": _words(_TOPICS, rng.choice(5, len(who), p=(0.26, 0.24, 0.2, 0.17, 0.13))),
        "clicked": pa.array(rng.random(len(who)) < np.array(_CLICK_SHARES)[placement]),
        "cost_yen": _yen_and_sen(sen),
    }


def _contacts(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    """Each campaign's contacts with arm and outcome: half of those reached are its holdout, drawn by lot."""
    drawn = [_campaign(rng, year, campaign) for campaign in _CAMPAIGNS]
    who, treated, day, converted = (np.concatenate(part) for part in zip(*drawn, strict=True))
    campaign = np.repeat(np.arange(len(_CAMPAIGNS)), [len(part[0]) for part in drawn])
    spend = np.minimum(rng.lognormal(8.1, 0.7, len(who)), 200_000).astype(np.int64)
    return {
        "contact_id": numbered("K", np.arange(1, len(who) + 1), 8),
        "customer_id": _customer_ids(who),
        "campaign": _words([campaign.name for campaign in _CAMPAIGNS], campaign),
        "arm": _words(("holdout", "treatment"), treated.astype(np.int64)),
        "contacted_on": pa.array(year.first + day),
        "converted": pa.array(converted),
        "spend_yen": pa.array(np.where(converted, spend, 0)),
    }


def _campaign(rng: np.random.Generator, year: Year, campaign: Campaign) -> tuple[np.ndarray, ...]:
    reached = (rng.random(year.customers) < campaign.reach) & (year.joined < campaign.first_day)
    who = np.nonzero(reached)[0]
    treated = rng.random(len(who)) < 0.5
    day = np.sort(rng.integers(campaign.first_day, campaign.first_day + campaign.days, len(who)))
    converted = rng.random(len(who)) < np.where(treated, campaign.treatment, campaign.holdout)
    return rng.permutation(who), treated, day, converted


def _orders(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    who, at = _events(rng, year, mean=1.3, growth=0.15)
    category = rng.choice(5, len(who), p=(0.14, 0.24, 0.3, 0.08, 0.24))
    yen = rng.lognormal(np.array(_CATEGORY_LOG_YEN)[category], 0.6)
    notes = (
        "置き配でお願いします。",
        "不在のときは090-0000-0000へお電話ください。",
        "宅配ボックスへ",
        "午前中に届けてください",
    )
    noted = rng.random(len(who)) < 0.04
    return {
        "order_id": numbered("O", np.arange(1, len(who) + 1), 8),
        "customer_id": _customer_ids(who),
        "ordered_at": _times(year, at),
        "category": _words(_CATEGORIES, category),
        "amount_yen": pa.array((np.clip(yen, 100, 500_000) // 10 * 10).astype(np.int64)),
        "quantity": pa.array(np.minimum(rng.geometric(0.62, len(who)), 50)),
        "coupon_used": pa.array(rng.random(len(who)) < np.where(at // _DAY < 45, 0.22, 0.11)),
        "delivery_note": blank(_words(notes, rng.integers(0, len(notes), len(who))), ~noted),
    }


def _inquiries(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    """Free text that may hold anything: the reason why no purpose has this product."""
    who = np.nonzero(rng.random(year.customers) < 0.03)[0]
    at = np.sort(_after_joining(rng, year, who))
    who = rng.permutation(who)
    openings = (
        "会員番号は",
        "ログインできません。番号：",
        "入院中のため配達先を変えたいです。会員",
        "退会したい。会員番号",
    )
    return {
        "inquiry_id": numbered("Q", np.arange(1, len(who) + 1), 7),
        "customer_id": _customer_ids(who),
        "received_at": _times(year, at),
        "channel": _words(("mail", "telephone", "chat"), rng.choice(3, len(who), p=(0.5, 0.2, 0.3))),
        "text": joined(_words(openings, rng.integers(0, len(openings), len(who))), _customer_ids(who)),
    }


def _stops(rng: np.random.Generator, year: Year) -> dict[str, pa.Array]:
    who = rng.permutation(np.nonzero(rng.random(year.customers) < 0.006)[0])
    return {
        "request_id": numbered("R", np.arange(1, len(who) + 1), 7),
        "customer_id": _customer_ids(who),
        "received_at": _times(year, np.sort(_after_joining(rng, year, who))),
        "scope": _words(_SCOPES, rng.choice(4, len(who), p=(0.5, 0.1, 0.3, 0.1))),
    }


def _events(rng: np.random.Generator, year: Year, mean: float, growth: float) -> tuple[np.ndarray, np.ndarray]:
    """Who did something and when (seconds after the year's first midnight), in order of time."""
    who = np.repeat(np.arange(year.customers), rng.poisson(mean * year.liveliness))
    weights = _WEEKDAYS[_weekday(year, np.arange(_DAYS))] * (1 + growth * np.arange(_DAYS) / _DAYS)
    day = np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(len(who)), side="right")
    hour = np.searchsorted(np.cumsum(_HOURS / _HOURS.sum())[:-1], rng.random(len(who)), side="right")
    at = day * _DAY + hour * 3600 + rng.integers(0, 3600, len(who))
    there = day >= year.joined[who]  # nobody does anything before joining
    who, at = who[there], at[there]
    order = np.argsort(at, kind="stable")
    return who[order], at[order]


def _after_joining(rng: np.random.Generator, year: Year, who: np.ndarray) -> np.ndarray:
    start = np.maximum(year.joined[who], 0) * _DAY
    return start + (rng.random(len(who)) * (_DAYS * _DAY - start)).astype(np.int64)


def _referrers(rng: np.random.Generator, who: np.ndarray) -> pa.Array:
    """Where a session came from; now and then an address that gives the customer away, as real ones do."""
    pages = ("https://search.example/?q=kai", "https://social.example/feed", "https://news.example/top",
             "https://mail.example/r?u=")  # fmt: skip
    chosen = rng.choice(4, len(who), p=(0.5, 0.3, 0.15, 0.05))
    telling = pc.if_else(pa.array(chosen == 3), _customer_ids(who), "")
    return blank(joined(_words(pages, chosen), telling), rng.random(len(who)) < 0.45)


def _yen_and_sen(sen: np.ndarray) -> pa.Array:
    """Hundredths as DECIMAL(9, 2): Arrow keeps a decimal as its unscaled number in 128 bits, lower half first."""
    halves = np.zeros((len(sen), 2), dtype=np.int64)
    halves[:, 0] = sen
    return pa.Array.from_buffers(pa.decimal128(9, 2), len(sen), [None, pa.py_buffer(halves)])


def _weekday(year: Year, day: np.ndarray) -> np.ndarray:
    return (year.first.astype(np.int64) + 3 + day) % 7  # 1970-01-01 was a Thursday


def _customer_ids(who: np.ndarray) -> pa.Array:
    return numbered("C", who + 1, 7)


def _words(words: tuple[str, ...] | list[str], places: np.ndarray) -> pa.Array:
    return pa.array(words).take(pa.array(places))


def _times(year: Year, seconds: np.ndarray) -> pa.Array:
    return pa.array(year.first.astype("datetime64[s]") + seconds).cast(pa.timestamp("us"))


def _write(folder: Path, table_name: str, columns: dict[str, pa.Array]) -> int:
    """Write one table; a column that always has a value is declared so in the file."""
    missing = _MAY_BE_MISSING.get(table_name, frozenset())
    fields = [pa.field(name, column.type, nullable=name in missing) for name, column in columns.items()]
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    pq.write_table(table, folder / f"{table_name}.parquet", compression="zstd", row_group_size=131_072)
    return int(table.num_rows)


def main() -> None:
    """The command line of this pipeline."""
    parser = argparse.ArgumentParser(description="Write the sample warehouse as Parquet files.")
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--as-of", type=lambda text: datetime.strptime(text, "%Y-%m-%d").date(), default=date(2026, 11, 1)
    )
    arguments = parser.parse_args()
    summary = generate(arguments.customers, arguments.out, arguments.as_of)
    for table, rows in summary.rows.items():
        sys.stdout.write(f"{table:<18}{rows:>12,} rows\n")


if __name__ == "__main__":
    main()
