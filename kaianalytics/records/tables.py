"""The tables of the records, in portable SQL.

Rules:
    1. Losses are integers (`kaianalytics.privacy.loss` units); times are UTC text in one width, so that text order is
       time order; digests are SHA-256 in hex.
    2. Every row but the chain's own carries `seq`: the audit event in whose transaction it was last written.
    3. A column marked `WITHHELD` stands in the audit chain by its digest alone: it is large, or must not be kept for
       ever beside everything else.
    4. Rows are written through `database.Transaction` only, which notes each of them in the event (law 6).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 3
WITHHELD = {"withheld": True}

metadata = MetaData()


def _seq() -> Column[int]:
    """The event of the row's last write; deferred, for the event is completed last."""
    return Column(
        "seq",
        Integer,
        ForeignKey("audit_events.seq", deferrable=True, initially="DEFERRED"),
        nullable=False,
    )


def _word(name: str, *, key: bool = False) -> Column[str]:
    return Column(name, String(200), primary_key=key, nullable=False)


def _time(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, String(27), nullable=nullable)


def _loss() -> tuple[Column[int], Column[int], CheckConstraint]:
    return (
        Column("rho_units", BigInteger, nullable=False),
        Column("delta_units", BigInteger, nullable=False),
        CheckConstraint("rho_units >= 0 AND delta_units >= 0"),
    )


schema_versions = Table("schema_versions", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

audit_events = Table(
    "audit_events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _time("at"),
    _word("actor"),
    _word("kind"),
    _word("subject"),
    Column("body", Text, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
)

accounts = Table("accounts", metadata, _word("population", key=True), _time("opened_at"), _seq())

caps = Table(
    "caps",
    metadata,
    Column("population", String(200), ForeignKey("accounts.population"), primary_key=True),
    _word("kind", key=True),
    _word("key", key=True),
    *_loss(),
    _seq(),
    CheckConstraint("kind IN ('account', 'purpose', 'product', 'analyst', 'approval', 'window')"),
)

charges = Table(
    "charges",
    metadata,
    Column("id", Integer, primary_key=True),
    _time("at"),
    Column("population", String(200), ForeignKey("accounts.population"), nullable=False),
    _word("purpose"),
    _word("analyst"),
    _word("product"),
    _word("approval"),
    _word("report"),
    _word("question"),
    _word("snapshot"),
    *_loss(),  # the account's: w² times what each of w windows is charged
    _word("state"),
    _seq(),
    CheckConstraint("state IN ('charged', 'redeemed', 'released')"),
    Index("charges_by_purpose", "population", "purpose"),
    Index("charges_by_analyst", "population", "analyst"),
    Index("charges_by_question", "question", "snapshot"),
)

charge_products = Table(
    "charge_products",
    metadata,
    Column("charge_id", Integer, ForeignKey("charges.id"), primary_key=True, autoincrement=False),
    _word("product", key=True),
    _seq(),
    Index("charges_by_product", "product"),
)

charge_windows = Table(
    "charge_windows",
    metadata,
    Column("charge_id", Integer, ForeignKey("charges.id"), primary_key=True, autoincrement=False),
    _word("window", key=True),
    _word("population"),
    *_loss(),
    _seq(),
    Index("charges_by_window", "population", "window"),
)

releases = Table(
    "releases",
    metadata,
    Column("charge_id", Integer, ForeignKey("charges.id"), primary_key=True, autoincrement=False),
    Column("noisy", LargeBinary, nullable=False, info=WITHHELD),
    Column("digest", String(64), nullable=False),
    _time("at"),
    _seq(),
)

answers = Table(
    "answers",
    metadata,
    Column("charge_id", Integer, ForeignKey("releases.charge_id"), primary_key=True, autoincrement=False),
    _word("asked", key=True),
    Column("sql", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=WITHHELD),
    Column("digest", String(64), nullable=False),
    _time("at"),
    _seq(),
    Index("answers_by_asking", "asked"),
)

profiles = Table(
    "profiles",
    metadata,
    Column("charge_id", Integer, ForeignKey("releases.charge_id"), primary_key=True, autoincrement=False),
    _word("population"),
    _word("purpose"),
    _word("subject"),
    Column("found", Text, nullable=False, info=WITHHELD),
    _seq(),
    Index("profiles_by_subject", "population", "purpose", "subject"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", Integer, primary_key=True),
    _time("at"),
    _word("report"),
    _word("purpose"),
    _word("author"),
    Column("notebook", LargeBinary, nullable=False, info=WITHHELD),
    Column("notebook_digest", String(64), nullable=False),
    Column("parameters", Text, nullable=False),
    _word("kernelspec"),
    Column("request", Text, nullable=False),
    _word("state"),
    _word("reviewer"),
    Column("note", Text, nullable=False),
    _time("decided_at", nullable=True),
    _seq(),
    Index("submissions_by_report", "report", "notebook_digest"),
)

passports = Table(
    "passports",
    metadata,
    _word("id", key=True),
    Column("review_id", Integer, ForeignKey("submissions.id"), nullable=False),
    Column("content", Text, nullable=False),
    Column("signature", String(128), nullable=False),
    _time("issued_at"),
    _time("expires_at"),
    _time("revoked_at", nullable=True),
    _seq(),
    UniqueConstraint("review_id"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    _word("report"),
    Column("passport_id", String(200), ForeignKey("passports.id"), nullable=False),
    _time("started_at"),
    _time("finished_at", nullable=True),
    _word("state"),
    Column("publication", Text, nullable=False),
    _seq(),
    CheckConstraint("state IN ('leased', 'published', 'failed')"),
)

run_uses = Table(
    "run_uses",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True, autoincrement=False),
    Column("charge_id", Integer, ForeignKey("charges.id"), primary_key=True, autoincrement=False),
    _word("use"),
    _seq(),
    CheckConstraint("\"use\" IN ('charged', 'repeated', 'earlier')"),
)

stops = Table(
    "stops",
    metadata,
    Column("id", Integer, primary_key=True),
    _time("at"),
    _word("scope"),
    _word("population"),
    Column("pseudonyms", Text, nullable=False, info=WITHHELD),
    _seq(),
)

revocations = Table("revocations", metadata, _word("token_id", key=True), _time("at"), _time("expires_at"), _seq())

row_uses = Table(
    "row_uses",
    metadata,
    Column("day", String(10), primary_key=True),
    _word("analyst", key=True),
    _word("purpose", key=True),
    _word("product", key=True),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    _seq(),
    CheckConstraint("rows >= 0 AND bytes >= 0"),
)

REMEMBERED = (
    accounts,
    caps,
    charges,
    charge_products,
    charge_windows,
    releases,
    answers,
    profiles,
    submissions,
    passports,
    runs,
    run_uses,
    stops,
    revocations,
    row_uses,
)
