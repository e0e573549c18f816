"""Tells again what OpenDP's Context says of sensitivities: run with opendp[polars] == 0.16.0, apart from the project.

    python opendp_context.py > opendp_context.json

The scale that it gives a discrete Gaussian at ρ is l2 / √(2ρ).
"""

from __future__ import annotations

import json
import math

import opendp.prelude as dp
import polars as pl

RHO = 0.1
CONTRACTS = [
    {"rows": 7},
    {"rows": 1},
    {"groups": 3, "rows_per_group": 2},
    {"groups": 5, "rows_per_group": 4},
    {"groups": 3, "rows_per_group": 4, "rows": 5},
    {"groups": 20, "rows_per_group": 2},
]
VALUES = [None, (0, 5), (-3, 5), (-9, 2), (2, 5)]


def l2_of(bounds: dict[str, int], values: tuple[int, int] | None) -> float:
    """What one unit moves a count or a sum by, over all groups, as the Context's noise tells."""
    contributions = []
    if "rows" in bounds:
        contributions.append(dp.polars.Bound(per_group=bounds["rows"]))
    if "groups" in bounds:
        groups, rows = bounds["groups"], bounds["rows_per_group"]
        contributions.append(dp.polars.Bound(by=["k"], num_groups=groups, per_group=rows))
    context = dp.Context.compositor(
        data=pl.LazyFrame({"k": ["x", "y", "x"], "v": [1, 2, 3]}),
        privacy_unit=dp.unit_of(contributions=contributions),
        privacy_loss=dp.loss_of(rho=RHO),
        split_evenly_over=1,
        margins=[dp.polars.Margin(by=["k"], max_length=1000, max_groups=50, invariant="keys")],
    )
    figure = dp.len() if values is None else pl.col("v").fill_null(0).dp.sum(values)
    scale = context.query().group_by("k").agg(figure).summarize()["scale"][0]
    return round(float(scale) * math.sqrt(2 * RHO), 4)


if __name__ == "__main__":
    dp.enable_features("contrib")
    told = [{"bounds": b, "values": v, "l2": l2_of(b, v)} for b in CONTRACTS for v in VALUES]
    print("[\n" + ",\n".join(json.dumps(case) for case in told) + "\n]")
