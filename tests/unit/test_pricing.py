"""Prices: read or refused by name; an accuracy costs the least ρ that keeps it, and the draw keeps what was told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plan_kit import figure, mean, plan_of, tree, vector

from kaianalytics.errors import QueryUnsupported
from kaianalytics.privacy.loss import RHO_UNITS, PrivacyLoss
from kaianalytics.privacy.measuring.answer import answer
from kaianalytics.privacy.measuring.foreseeing import half_widths
from kaianalytics.privacy.measuring.measurement import plan_noise
from kaianalytics.privacy.measuring.prices import Accuracy, Price, accuracies, price_of
from kaianalytics.privacy.measuring.pricing import _balanced, loss_for_accuracy, priced
from kaianalytics.privacy.plan import Exact, Plan
from kaianalytics.privacy.query import Apply, Measure, Number, Of, QuantileOf, TopOf
from kaianalytics.privacy.unit import ValueBounds
from kaianalytics.protocol import StatisticsRequest

DELTA = Decimal("1e-6")
BOUNDS = ValueBounds(Decimal(0), Decimal(100), Decimal("0.01"))
SHAPE = tree(4, 4)


def request(**price: Any) -> Price:
    return price_of(StatisticsRequest("SELECT", **price), DELTA)


def refusal(**price: Any) -> str:
    with pytest.raises(QueryUnsupported) as caught:
        request(**price)
    assert caught.value.hint
    return caught.value.code


# --- reading


def test_a_price_is_a_rho_an_epsilon_or_accuracies() -> None:
    assert request(rho="0.002").loss == PrivacyLoss.of("0.002")
    assert request(epsilon="1", size="20").loss == PrivacyLoss.of("0.024355970359")
    assert request(epsilon="1").loss.epsilon(DELTA) <= 1  # type: ignore[union-attr]
    assert request(accuracy="50").accuracy == {"": Accuracy(Decimal(50))}
    assert request(accuracy="5%", size="2e3") == Price(accuracy={"": Accuracy(Decimal(5), True)}, size=Decimal(2000))
    named = request(accuracy={"n": "50", "m": "0.5%"}).accuracy
    assert named == {"n": Accuracy(Decimal(50)), "m": Accuracy(Decimal("0.5"), True)}


@pytest.mark.parametrize(
    ("price", "code"),
    [
        ({}, "PRICE_MISSING"),
        ({"size": "3"}, "PRICE_MISSING"),
        ({"rho": "1", "epsilon": "1"}, "PRICE_TWICE"),
        ({"rho": "1", "accuracy": "1"}, "PRICE_TWICE"),
        ({"epsilon": "1", "accuracy": {"n": "1"}}, "PRICE_TWICE"),
    ],
)
def test_exactly_one_price_is_named(price: Mapping[str, Any], code: str) -> None:
    assert refusal(**price) == code


@pytest.mark.parametrize(
    "value", ["0", "-1", "-0.0", "NaN", "sNaN", "inf", "-inf", "1e19", "1e999999", "much", "", "1,5", " ", "0x1"]
)
def test_what_is_no_price_is_refused_by_its_own_name(value: str) -> None:
    assert refusal(rho=value) == "RHO"
    assert refusal(epsilon=value) == "EPSILON"
    assert refusal(accuracy=value) == "ACCURACY"
    assert refusal(accuracy=value + "%", size="10") == "ACCURACY"
    assert refusal(accuracy={"n": "1", "m": value}) == "ACCURACY"
    assert refusal(rho="1", size=value) == "SIZE"


def test_an_epsilon_that_buys_nothing_is_refused() -> None:
    with pytest.raises(QueryUnsupported) as caught:
        price_of(StatisticsRequest("SELECT", epsilon="1e-6"), Decimal("1e-12"))
    assert caught.value.code == "EPSILON"
    assert refusal(accuracy="5%%", size="10") == "ACCURACY"
    with pytest.raises(ValueError, match="a price"):
        Price()


# --- what an accuracy costs


def question() -> Plan:
    """n, total and average of bounded values, a sum of something else, the median, a top value, and odd figures."""
    vectors = (
        vector("rows", l2=2, linf=1, l0=4),
        vector("sum", l2=10_000, step="0.01"),
        vector("sum", l2=70, step="1"),
        vector("tree", l2=4, width=SHAPE.size, tree=SHAPE),
        vector("top", width=5),
    )
    measures = (
        Measure("rows"),
        Measure("sum", bounds=BOUNDS, centre=Decimal(50)),
        Measure("sum", bounds=ValueBounds(Decimal(0), Decimal(70))),
        Measure("tree", bounds=BOUNDS),
        Measure("top", domain=tuple("abcde"), size=2),
    )
    total = Apply("+", (Of(1), Apply("*", (Number(Decimal(50)), Of(0)))))
    figures = [
        figure("n", Of(0)),
        figure("total", total, "sum"),
        figure("average", mean(1, 0, "50"), "mean", support=0),
        figure("other", Of(2), "sum", whole=True),
        figure("median", QuantileOf(3, Decimal("0.5")), "quantile"),
        figure("first", TopOf(4, 0), "top"),
        figure("ratio", Apply("/", (Of(2), Of(0))), "ratio"),
        figure("clamped", Apply("greatest", (Of(2), Number(Decimal(0)))), "sum"),
    ]
    return plan_of(*vectors, measures=measures, select=figures, count=3)


def told(
    plan: Plan, loss: PrivacyLoss, shares: tuple[int, ...] | None = None, size: str | None = None
) -> dict[str, Any]:
    measurement = plan_noise(plan, loss, shares, DELTA)
    return {f.name: f.half_width for f in half_widths(plan, measurement, None if size is None else Decimal(size))}


def cost(plan: Plan, size: str | None = None, **asked: str) -> tuple[PrivacyLoss, dict[str, Any]]:
    named = accuracies(asked.get("each") or asked)
    loss, shares = loss_for_accuracy(plan, named, None if size is None else Decimal(size))
    assert sum(shares) == loss.rho_units
    return loss, told(plan, loss, shares, size)


def test_half_widths_are_told_where_they_follow_from_public_facts() -> None:
    bare, sized = told(question(), PrivacyLoss.of("0.5")), told(question(), PrivacyLoss.of("0.5"), size="5000")
    assert [name for name, width in bare.items() if width is None] == ["average", "median", "first", "ratio"]
    assert [name for name, width in sized.items() if width is None] == ["first", "ratio"]
    assert {name: sized[name] for name in bare if bare[name] is not None} == {
        n: w for n, w in bare.items() if w is not None
    }
    scale = math.sqrt(1 / (2 * 0.1))
    assert bare["n"] == pytest.approx(1.96 * 2 * scale + 1, abs=1)
    assert bare["total"] == pytest.approx(1.96 * math.hypot(100 * scale, 50 * 2 * scale), rel=0.03)
    assert bare["clamped"] == pytest.approx(bare["other"], rel=0.03)
    assert sized["average"] == pytest.approx(1.96 * math.hypot(100 * scale, 50 * 2 * scale) / 5_000, rel=0.03)
    assert 0.3 < sized["median"] < 3


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"n": "12"}, None),
        ({"total": "900"}, None),
        ({"n": "12", "total": "900", "other": "300"}, None),
        ({"average": "0.2"}, "4000"),
        ({"median": "1.5"}, "4000"),
        ({"n": "1%", "average": "0.5", "other": "3%", "median": "2"}, "10000"),
        ({"clamped": "150"}, None),
    ],
)
def test_an_accuracy_costs_no_more_than_it_needs(asked: dict[str, str], size: str | None) -> None:
    plan = question()
    loss, widths = cost(plan, size, **asked)
    limits = {n: float(a.rstrip("%")) * (float(size or 0) / 100 if "%" in a else 1) for n, a in asked.items()}
    assert all(widths[name] <= limit for name, limit in limits.items())
    less = PrivacyLoss(loss.rho_units * 93 // 100)
    _, shares = loss_for_accuracy(plan, accuracies(asked), None if size is None else Decimal(size))
    tighter = told(plan, less, shares, size)
    assert any(tighter[name] > limit for name, limit in limits.items())


def test_one_accuracy_for_all_figures_counts_for_each_that_has_a_bar() -> None:
    vectors = vector("rows"), vector("sum", l2=10)
    plan = plan_of(*vectors, select=[figure("n", Of(0)), figure("s", Of(1), "sum")])
    loss, widths = cost(plan, each="100")
    assert widths["n"] <= 100
    assert 95 <= widths["s"] <= 100
    assert loss.rho_units == pytest.approx(RHO_UNITS * (10 * 1.96 / 100) ** 2 / 2 * 1.01, rel=0.05)
    top = plan_of(vector("rows"), vector("top", width=4), select=[figure("n", Of(0)), figure("t", TopOf(1, 0), "top")])
    assert cost(top, each="100")[1]["n"] <= 100


def test_vectors_that_no_accuracy_needs_get_the_smallest_share() -> None:
    _, shares = loss_for_accuracy(question(), accuracies({"n": "12", "other": "300"}), None)
    assert min(shares) == shares[1] == shares[3] == shares[4]
    assert shares[0] > 0


def test_unknown_keys_are_priced_with_their_threshold() -> None:
    plan = plan_of(vector("units", l2=2, linf=1, l0=4), vector("sum", l2=10), unknown=True)
    loss, widths = cost(plan, f0="20", f1="100")
    assert widths["f0"] <= 20
    assert widths["f1"] <= 100
    assert priced(
        request(accuracy={"f0": "20", "f1": "100"}), lambda _: plan, DELTA
    ).measurement.loss == loss + PrivacyLoss(0, plan_noise(plan, loss, None, DELTA).loss.delta_units)
    with pytest.raises(QueryUnsupported) as caught:
        priced(request(accuracy="20"), lambda _: plan, None)
    assert caught.value.code == "KEYS_NEED_DELTA"


@pytest.mark.parametrize(
    ("asked", "size", "code"),
    [
        ({"nn": "1"}, None, "ACCURACY_FIGURE"),
        ({"average": "1"}, None, "SIZE_MISSING"),
        ({"median": "1"}, None, "SIZE_MISSING"),
        ({"n": "5%"}, None, "SIZE_MISSING"),
        ({"average": "5%"}, "100", "ACCURACY_SHARE"),
        ({"median": "5%"}, "100", "ACCURACY_SHARE"),
        ({"ratio": "1"}, "100", "ACCURACY_DEPENDS"),
        ({"first": "1"}, "100", "ACCURACY_DEPENDS"),
        ({"": "1"}, "100", "ACCURACY_DEPENDS"),  # the ratio is among all figures
        ({"n": "0.4"}, None, "LOSS_OUT_OF_RANGE"),
        ({"total": "0.0001"}, None, "LOSS_OUT_OF_RANGE"),
        ({"other": "0.5"}, None, "LOSS_OUT_OF_RANGE"),
        ({"median": "0.01"}, "10000000", "LOSS_OUT_OF_RANGE"),  # finer than a leaf
    ],
)
def test_accuracies_that_cannot_be_promised_are_refused(asked: dict[str, str], size: str | None, code: str) -> None:
    with pytest.raises(QueryUnsupported) as caught:
        loss_for_accuracy(question(), accuracies(asked), None if size is None else Decimal(size))
    assert caught.value.code == code
    assert "accura" in caught.value.hint + caught.value.rule + caught.value.message or code == "SIZE_MISSING"


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_shares_are_the_least_that_keep_within_every_limit(data: st.DataObject) -> None:
    """Held against the multipliers' own condition: no feasible share is smaller in all (weak duality)."""
    import numpy as np

    figures, vectors = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    entry = st.sampled_from([0.0, 0.01, 1.0, 3.0, 100.0])
    rows = data.draw(st.lists(st.lists(entry, min_size=vectors, max_size=vectors), min_size=figures, max_size=figures))
    rows = [row if any(row) else [1.0] * vectors for row in rows]
    c, b = (
        np.array(rows),
        np.array(data.draw(st.lists(st.sampled_from([0.1, 1.0, 9.0]), min_size=figures, max_size=figures))),
    )
    rho = np.array(_balanced(c, b))
    assert ((c / rho).sum(axis=1) <= b * (1 + 1e-6)).all()
    needed = c.sum(axis=0) > 0
    generator = np.random.default_rng(0)
    for _ in range(200):  # no random feasible point is better by more than the tolerance of 200 rounds
        other = rho * generator.lognormal(0, 0.5, vectors)
        other *= ((c / other).sum(axis=1) / b).max()
        assert rho[needed].sum() <= other[needed].sum() * 1.03


# --- the whole way


def test_the_draw_keeps_the_half_width_that_was_told() -> None:
    plan = replace(
        plan_of(vector("rows"), vector("sum", l2=50), count=1), cells=tuple((f"c{i}",) for i in range(4_000))
    )
    measures = (Measure("rows"), Measure("sum", bounds=ValueBounds(Decimal(-50), Decimal(50))))
    query = replace(plan.query, measures=measures, select=(figure("m", mean(1, 0), "mean"), figure("n", Of(0))))
    plan = replace(plan, query=query)
    one = priced(request(accuracy={"m": "1.5"}, size="400"), lambda _: plan, None)
    (foreseen, _) = half_widths(plan, one.measurement, Decimal(400))
    noisy = one.measurement.release(Exact(plan.cells or (), ((400,) * 4_000, (400 * 50,) * 4_000)))
    table = answer(plan, one.measurement, noisy)
    assert foreseen.half_width is not None
    assert foreseen.half_width <= 1.5
    inside = sum(abs(row[0] - 50) <= 1.5 for row in table.rows)  # type: ignore[operator]
    assert 0.934 * 4_000 <= inside <= 0.985 * 4_000
    assert sum(margin[0] for margin in table.margins) / 4_000 == pytest.approx(1.5, rel=0.03)  # type: ignore[misc]


def test_the_better_of_two_forms_is_found_for_an_accuracy() -> None:
    """A form that is chosen for a large loss may be the wrong one for the loss that the accuracy turns out to cost."""
    chosen: list[PrivacyLoss] = []

    def compiled(loss: PrivacyLoss) -> Plan:
        chosen.append(loss)
        return plan_of(vector("rows", l2=9 if loss.rho_units > 10**9 else 5))

    one = priced(request(accuracy="1000"), compiled, None)
    assert one.plan.vectors[0].l2 == 5
    assert one.chosen_at == chosen[1] != chosen[0]
    assert one.measurement.noises[0].bar.half_width <= 1000
    bought = priced(request(rho="0.1"), compiled, None)
    assert bought.measurement.loss == bought.chosen_at == PrivacyLoss.of("0.1")
