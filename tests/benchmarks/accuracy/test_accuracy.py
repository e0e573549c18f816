"""The accuracy benchmark's own parts: truth, bounds in hindsight, scores by hand, absent peers, what the page lists."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from children import ROOT
from page import Table

from accuracy.bounds import Bound, Engine, best, expected_error, opendp_bounds, our_bounds, smartnoise_bounds
from accuracy.contributions import Contributions, contributions
from accuracy.environments import environment
from accuracy.job import opened, run_job
from accuracy.made_up import made_up
from accuracy.ours import Ours
from accuracy.report import COLUMNS, KNOWING, OURS, PAIRS, PEERS, Round, column, tables
from accuracy.scoring import Score, over_answers, over_questions, scored
from accuracy.workload import CONTACTS, ORDERS, RETAIL, SAMPLE, Question, Workload
from kaianalytics.privacy.loss import PrivacyLoss

BY_CATEGORY = Question(ORDERS, "rows", by=("category",))
SPENT = Question(ORDERS, "sum", "quantity")
MEAN = Question(ORDERS, "mean", "quantity", by=("category",))
BUYERS = Question(ORDERS, "customers", by=("category",))
SILENT = Engine(our_bounds, 0.0, 0.0)


@pytest.fixture(scope="module")
def orders() -> duckdb.DuckDBPyConnection:
    """A few customers' orders: one has a hundred, in two categories; nobody ordered books."""
    connection = duckdb.connect()
    connection.sql(
        "CREATE TABLE orders AS SELECT customer, category, unnest(range(n)) % 4 + 1 AS quantity, n > 3 AS coupon_used, "
        "'2026-01' AS ym, 100 AS amount_yen FROM (VALUES (1, 'food', 90), (1, 'travel', 10), (2, 'food', 3), "
        "(3, 'fashion', 1), (3, 'electronics', 2)) AS orders(customer, category, n)"
    )
    return connection


# --- the workload and the truth


def test_the_workload_asks_for_more_than_fifty_answers_in_as_many_questions() -> None:
    workload = Workload(RETAIL + SAMPLE)
    assert len({question.sql for question in workload.questions}) == len(workload.questions) > 50
    assert workload.answers > len(workload.questions)
    assert {question.aggregate for question in RETAIL} == {question.aggregate for question in SAMPLE}


@pytest.mark.parametrize("question", [question for question in SAMPLE if question.table is ORDERS] + [MEAN, BUYERS])
def test_the_truth_is_what_plain_duckdb_answers(orders: duckdb.DuckDBPyConnection, question: Question) -> None:
    rows = {tuple(row[:-1]): row[-1] for row in orders.sql(question.sql).fetchall()}
    truth = dict(zip(question.cells, contributions(orders, question).truth, strict=True))
    for cell, exact in truth.items():
        absent = 5.0 if question.column == "quantity" else 15_000.0
        assert exact == pytest.approx(rows.get(cell) or (absent if question.aggregate == "mean" else 0))


# --- bounds in hindsight


@pytest.mark.parametrize("question", [BY_CATEGORY, SPENT, MEAN, BUYERS])
@pytest.mark.parametrize("form", ["rows", "each", "norm"])
def test_a_bound_that_cuts_nothing_costs_its_noise_alone(
    orders: duckdb.DuckDBPyConnection, question: Question, form: str
) -> None:
    given = contributions(orders, question)
    assert expected_error(SILENT, given, Bound(form, 1e9)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("question", [BY_CATEGORY, SPENT])
@pytest.mark.parametrize(("form", "kept"), [("rows", 30 / 100), ("norm", 30 / math.hypot(90, 10))])
def test_what_rows_and_norms_are_expected_to_leave(
    orders: duckdb.DuckDBPyConnection, question: Question, form: str, kept: float
) -> None:
    given = contributions(orders, question)
    if question is SPENT:
        kept = 30 / 100 if form == "rows" else 30 / given.parts.max()
    cut = given.added(np.where(given.unit == 0, given.parts, 0)) * (1 - kept)
    assert expected_error(SILENT, given, Bound(form, 30)) == pytest.approx(math.sqrt(np.mean(cut**2)))


def test_a_sample_of_rows_is_expected_to_leave_what_samples_leave(orders: duckdb.DuckDBPyConnection) -> None:
    given, random = contributions(orders, BY_CATEGORY), np.random.default_rng(0)
    rows = np.repeat(given.cell[given.unit == 0], given.rows[given.unit == 0].astype(int))
    samples = [np.bincount(random.choice(rows, 30, replace=False), minlength=5) for _ in range(2_000)]
    bias = np.bincount(rows, minlength=5) - np.mean(samples, axis=0)
    assert expected_error(SILENT, given, Bound("rows", 30)) == pytest.approx(math.sqrt(np.mean(bias**2)), rel=0.01)


def test_dropped_cells_are_missed_and_charged_for_one_more(orders: duckdb.DuckDBPyConnection) -> None:
    given = contributions(orders, BUYERS)
    assert expected_error(SILENT, given, Bound("each", 1, groups=1)) == pytest.approx(math.sqrt(2 / 5))
    noisy = Engine(opendp_bounds, 1000.0, 0.0)
    assert expected_error(noisy, given, Bound("each", 1, groups=1)) == pytest.approx(1000 * math.sqrt(2), rel=1e-3)
    assert expected_error(noisy, given, Bound("each", 1)) == pytest.approx(1000 * math.sqrt(5))


@pytest.mark.parametrize("bounds", [smartnoise_bounds, opendp_bounds, our_bounds])
@pytest.mark.parametrize("question", [BY_CATEGORY, SPENT, MEAN, BUYERS])
def test_the_best_bound_is_among_those_that_can_be_had(
    orders: duckdb.DuckDBPyConnection, bounds: object, question: Question
) -> None:
    given, engine = contributions(orders, question), Engine(bounds, 3.0, 4.0)  # type: ignore[arg-type]
    chosen = best(engine, given)
    assert chosen in list(engine.bounds(question))
    assert expected_error(engine, given, chosen) == min(
        expected_error(engine, given, b) for b in engine.bounds(question)
    )


def test_we_are_given_no_form_that_loses_to_what_the_peers_are_given(orders: duckdb.DuckDBPyConnection) -> None:
    """Distinct customers: a customer in every cell may count in each, at the same noise as a peer's."""
    given = contributions(orders, BUYERS)
    ours, theirs = Engine(our_bounds, 1e-3, 1e-3), Engine(opendp_bounds, 1e-3, 1e-3)
    assert expected_error(ours, given, best(ours, given)) <= expected_error(theirs, given, best(theirs, given)) + 1e-12


def test_made_up_customers_have_the_profiles_rows_and_values() -> None:
    given = made_up(SPENT)
    assert given.of_each(given.rows).max() <= ORDERS.rows
    for points, parts in ((ORDERS.profile["rows"], given.rows), (ORDERS.profile["quantity"], given.total)):
        for share, most in points:
            assert np.mean(parts <= most) == pytest.approx(float(share), abs=0.13)


def test_made_up_customers_are_in_several_cells_and_add_up() -> None:
    given, alone = made_up(BY_CATEGORY), made_up(Question(ORDERS, "rows"))
    assert len(given.unit) > len(alone.unit) == ORDERS.customers
    assert given.truth.sum() == pytest.approx(alone.truth.sum())
    assert given.truth.max() < 1.1 * given.truth.min()


# --- scores


def _given(question: Question, truth: list[float]) -> Contributions:
    cells = np.arange(len(truth))
    return Contributions(question, cells, cells, np.array(truth), np.array(truth))


def test_errors_by_hand() -> None:
    score = scored(BY_CATEGORY, np.array([10.0, 0, 0, 0, 0]), {"a": [[13.0, 4, 0, 0, 0], [7.0, 0, 0, 0, 0]]})
    assert score.rmse("a") == pytest.approx(math.sqrt((9 + 9 + 16) / 10))
    assert score.relative("a") == pytest.approx(score.rmse("a") / 2)


def test_what_is_public_improves_every_column_alike() -> None:
    truth = np.zeros(5)
    assert scored(BY_CATEGORY, truth, {"a": [[-100.0] * 5]}).rmse("a") < 1e-8
    middle = np.full(5, 5.0)
    assert scored(MEAN, middle, {"a": [[float("nan")] * 5]}).rmse("a") < 1e-7
    assert scored(MEAN, middle, {"a": [[1e9] * 5]}).rmse("a") == pytest.approx(5.0)


def test_geometric_means_over_questions_and_over_answers() -> None:
    ones = np.zeros(5)
    first = Score(BY_CATEGORY, ones, {"ours": np.full(5, 4.0), "theirs": np.full(5, 1.0)}, {}, 1)
    second = Score(SPENT, np.zeros(1), {"ours": np.ones(1), "theirs": np.full(1, 16.0)}, {}, 1)
    assert over_questions([first, second], "ours", "theirs") == pytest.approx(math.sqrt(2 / 4))
    assert over_answers([first, second], "ours", "theirs") == pytest.approx((2**5 / 4) ** (1 / 6))


def test_a_refused_question_counts_for_nobody() -> None:
    score = scored(SPENT, np.array([5.0]), {"ours": [[6.0]], "theirs": "no such thing"})
    assert (
        over_questions([score, scored(SPENT, np.array([5.0]), {"ours": [[7.0]], "theirs": [[9.0]]})], "ours", "theirs")
        == 0.5
    )
    assert score.refused == {"theirs": "no such thing"}


# --- peers


def test_a_peer_that_cannot_be_installed_is_absent_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "requirements-nobody.txt").write_text("./no-such-folder\n", encoding="utf-8")
    place = environment("nobody", tmp_path)
    assert place.python is None
    assert "no-such-folder" in place.absent
    assert not list((tmp_path / "cache").rglob("ready"))


def test_a_runner_that_fails_says_why(tmp_path: Path) -> None:
    script = tmp_path / "peer_failing.py"
    script.write_text("raise SystemExit('the odometer is broken')", encoding="utf-8")
    with pytest.raises(RuntimeError, match="the odometer is broken"):
        run_job(Path(sys.executable), script, tmp_path / "job", Workload((SPENT,)), [Bound("rows", 1)], "1", 2)


def test_a_runner_is_told_the_question_its_bound_and_the_total(tmp_path: Path) -> None:
    script = tmp_path / "peer_echoing.py"
    script.write_text(
        "import json, sys\n"
        "job = json.load(open(sys.argv[1]))\n"
        "question, = job['questions']\n"
        "said = [float(job['epsilon']), float(job['delta']), question['bound']['size'], len(job['tables'])]\n"
        "answers = [{'draws': [said] * job['times']}]\n"
        "json.dump({'answers': answers, 'settings': question['sql']}, open(sys.argv[2], 'w'))\n",
        encoding="utf-8",
    )
    asked = Workload((Question(CONTACTS, "rows", by=("arm",)),))
    answers = run_job(Path(sys.executable), script, tmp_path / "job", asked, [Bound("each", 7)], "5", 2)
    assert answers.draws == ([[5.0, 1e-6, 7, 1]] * 2,)
    assert answers.settings == asked.questions[0].sql


# --- ours


def test_our_engine_is_as_exact_as_its_bounds_are_expected_to_be(tmp_path: Path) -> None:
    generate = [str(ROOT / "pipelines" / "sample_warehouse.py"), "--customers", "2000", "--out", str(tmp_path)]
    subprocess.run([sys.executable, *generate], check=True, stdout=subprocess.DEVNULL)
    workload, sources = Workload((BY_CATEGORY, SPENT, MEAN, BUYERS)), {"orders": tmp_path / "orders.parquet"}
    noise, loss = 1 / math.sqrt(2 * 5), PrivacyLoss.of(5)
    expecting, engine = Engine(our_bounds, noise, noise * math.sqrt(2), centred=True), Ours(workload, sources)
    with opened(workload, sources, tmp_path) as connection:
        given = [contributions(connection, question) for question in workload.questions]
    told = [best(expecting, each) for each in given]
    for each, bound, *draws in zip(
        given, told, engine.told(told, loss, 4).draws, engine.private(loss, 4).draws, strict=True
    ):
        errors = [scored(each.question, each.truth, {"ours": column}).rmse("ours") for column in draws]
        expected = expected_error(expecting, each, bound)
        assert expected / 5 < errors[0] < 4 * expected
        assert errors[1] < 8 * expected  # two customers hold most of it, and noise hides them
    assert all(np.isfinite(draws).all() for draws in engine.profiled(loss, 2).draws)  # a profile of another shop's


# --- the page


def _round(ours: float, theirs: float, absent: dict[str, str] | None = None) -> Round:
    squares = {name: np.full(1, (ours if name.startswith(OURS) else theirs) ** 2) for name in COLUMNS}
    present = {name: square for name, square in squares.items() if name not in (absent or {})}
    return Round("1", (Score(SPENT, np.array([10.0]), present, {}, 12),), {}, absent or {})


def _table(page: list[Table], title: str) -> Table:
    return next(table for table in page if table.title.startswith(title))


def test_what_we_lose_is_listed_and_what_we_win_is_not() -> None:
    lost = _table(tables([_round(3.0, 1.0)], ""), "Questions that we lose")
    assert len(lost.rows) == 3  # one for each of our columns
    assert all(said.count("3.00 ×") == sum(ours == mine for mine, _ in PAIRS) for _, ours, said in lost.rows)
    assert not any("chance" in said for *_, said in lost.rows)
    assert not _table(tables([_round(1.0, 3.0)], ""), "Questions that we lose").rows


def test_a_loss_that_equal_errors_would_show_is_said_to_be_within_chance() -> None:
    lost = _table(tables([_round(1.2, 1.0)], ""), "Questions that we lose")
    assert all(said.count("1.20 ×") == said.count("within chance") for *_, said in lost.rows)


def test_an_absent_peer_is_told_with_its_reason() -> None:
    gone = column(PEERS[0], KNOWING[0])
    means = _table(tables([_round(1.0, 2.0, {gone: "no such version"})], ""), "Geometric means")
    assert {row[3] for row in means.rows if row[2] == gone} == {"absent: no such version"}
    assert {row[3] for row in means.rows if row[2] != gone} == {"**0.50**"}
