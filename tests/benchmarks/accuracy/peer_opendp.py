"""The workload in OpenDP's Context over Polars: a job as JSON in, answers as JSON out, in an environment of its own.

    python peer_opendp.py job.json answers.json

Its best documented settings for this: ρ of zCDP, as much as (ε, δ) allows by its own conversion, split evenly; keys
given (`with_keys`); truncation as the job says: a customer's rows sampled, or, which it documents too, a customer's
rows in a cell added up before they are clipped. The context answers each question once, further draws are of the same
measurement. Its scale is found from ρ ∝ 1/scale² where the Context halves an interval for two seconds, to the same end.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from itertools import product
from pathlib import Path

import opendp.prelude as dp
import polars as pl

SIGNS = {"=": "__eq__", "<>": "__ne__", ">=": "__ge__", "<": "__lt__"}


def main() -> None:
    """Answer the job's questions and write the answers."""
    warnings.simplefilter("ignore")
    dp.enable_features("contrib")
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rho = _rho(float(job["epsilon"]), float(job["delta"]))
    answers: list[dict] = [{} for _ in job["questions"]]
    for table in job["tables"]:
        places = [at for at, question in enumerate(job["questions"]) if question["table"] == table["name"]]
        asked = [job["questions"][at] for at in places]
        for at, answer in zip(places, _of_table(table, asked, rho / len(job["questions"]), job["times"]), strict=True):
            answers[at] = answer
    each = f"ρ = {rho / len(job['questions']):.6f} for each question, zCDP, split evenly, keys given"
    settings = f"{version('opendp')}; {each}"
    Path(sys.argv[2]).write_text(json.dumps({"answers": answers, "settings": settings}), encoding="utf-8")


def _rho(epsilon: float, delta: float) -> float:
    """The most ρ whose ε at δ, as the library converts it, is within the job's."""
    space = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)
    converted = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=1.0))
    low, high = 0.0, epsilon
    for _ in range(60):
        middle = (low + high) / 2
        told = converted.map((2 * middle) ** 0.5).epsilon(delta)
        low, high = (middle, high) if told <= epsilon else (low, middle)
    return low


def _of_table(table: dict, questions: list[dict], rho: float, times: int) -> list[dict]:
    steps = [(pl.col(name) / values["step"]).round().cast(pl.Int64) for name, values in table["values"].items()]
    data = pl.read_parquet(table["path"]).with_columns(
        plain.alias(f"steps_of_{name}") for name, plain in zip(table["values"], steps, strict=True)
    )
    groups = {tuple(question["by"]) for question in questions} | {()}
    length = table["rows"] * table["customers"]
    context = dp.Context.compositor(
        data=data.lazy(),
        privacy_unit=dp.unit_of(contributions=1, identifier=table["unit"]),
        privacy_loss=dp.loss_of(rho=rho * len(questions)),
        split_evenly_over=len(questions),
        margins=[dp.polars.Margin(by=list(by), max_length=length, max_groups=_cells_of(by, table)) for by in groups],
    )
    return [_answered(question, table, context, data.lazy(), times) for question in questions]


def _cells_of(by: tuple, table: dict) -> int:
    return len(list(product(*(table["keys"][key] for key in by))))


def _answered(question: dict, table: dict, context: dp.Context, data: pl.LazyFrame, times: int) -> dict:
    """Draws of one question, or why it was refused."""
    try:
        measurement = _resolved(_query(question, table, context))
        frames = [context(measurement).collect(), *(measurement(data).collect() for _ in range(times - 1))]
    except Exception as refusal:  # whatever it says is the column's entry
        return {"refused": str(refusal)[:300]}
    return {"draws": [_draw(frame, question, table) for frame in frames]}


def _resolved(query) -> dp.Measurement:
    """What `query.resolve()` finds: the measurement with the least scale that its share allows."""
    plan, inner = (object.__getattribute__(query, name) for name in ("polars_plan", "_query"))

    def at(scale: float) -> dp.Measurement:
        return dp.m.make_private_lazyframe(*inner._chain, inner._output_measure, plan, global_scale=scale)

    scale = (at(1.0).map(inner._d_in) / inner._d_out) ** 0.5
    while not at(scale).check(inner._d_in, inner._d_out):
        scale *= 1 + 1e-9
    return at(scale)


def _query(question: dict, table: dict, context: dp.Context):
    """The question with the job's truncation."""
    query, by, bound = context.query(), question["by"], question["bound"]
    for column, sign, value in question["where"]:
        query = query.filter(getattr(pl.col(column), SIGNS[sign])(pl.lit(value)))
    added_up = bound["form"] == "each" and question["aggregate"] == "sum"
    if bound["form"] == "rows":
        query = query.truncate_per_group(max(1, int(bound["size"])))
    elif not added_up:
        query = query.truncate_per_group(max(1, int(bound["size"])), by=by)
    if bound["groups"] is not None:
        query = query.truncate_num_groups(bound["groups"] + 1, by=by, keep="first")  # which keeps one fewer
    if added_up:
        query = query.group_by(table["unit"], *by).agg(pl.col(f"steps_of_{question['column']}").sum())
    figure = _figure(question, table, added_up)
    if not by:
        return query.select(figure)
    keys = pl.DataFrame([dict(zip(by, cell, strict=True)) for cell in product(*(table["keys"][key] for key in by))])
    return query.group_by(by).agg(figure).with_keys(keys)


def _figure(question: dict, table: dict, added_up: bool) -> pl.Expr:
    if question["aggregate"] in ("rows", "customers"):
        return dp.len().alias("n")
    values = table["values"][question["column"]]
    column = pl.col(f"steps_of_{question['column']}")
    low, high = round(values["lower"] / values["step"]), round(values["upper"] / values["step"])
    if added_up:
        high = max(1, round(question["bound"]["size"] / values["step"]))
    return (column.dp.mean((low, high)) if question["aggregate"] == "mean" else column.dp.sum((low, high))).alias("n")


def _draw(frame: pl.DataFrame, question: dict, table: dict) -> list[float]:
    step = table["values"][question["column"]]["step"] if question["column"] else 1
    found = {tuple(row[key] for key in question["by"]): row["n"] for row in frame.to_dicts()}
    cells = product(*(table["keys"][key] for key in question["by"]))
    return [float(found[cell]) * step for cell in cells]


if __name__ == "__main__":
    main()
