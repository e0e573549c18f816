"""A scheduled report's description: one YAML file beside the pipelines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kaianalytics.errors import Refused

FIELDS = ("report", "title", "notebook", "cadence", "rho_per_run", "parameters")
OPTIONAL = ("delta_per_run",)
CADENCES = ("daily", "weekly", "monthly")
LARGEST = 64 * 1024  # bytes of a description: a few lines are usual


@dataclass(frozen=True)
class ReportDescription:
    """What runs, how often, and what it may cost in privacy loss per run (decimal strings)."""

    report: str
    title: str
    notebook: Path
    cadence: str
    rho_per_run: str
    parameters: Mapping[str, Any]
    delta_per_run: str = "0"  # for questions whose keys are not declared


def read_description(path: Path) -> ReportDescription:
    """The report that the file describes; Refused naming what is missing or not as expected."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)
        values = YAML(typ="safe", pure=True).load(text.decode() if len(text) <= LARGEST else "")
    except FileNotFoundError:
        raise Refused(
            "NO_REPORT", f"There is no report description {path.name}.", hint="see pipelines/*.yaml"
        ) from None
    except (YAMLError, ValueError, RecursionError):  # ValueError: no UTF-8, or a date that there is not
        raise Refused(
            "REPORT_YAML", f"{path.name} is not readable YAML.", hint="compare it with pipelines/campaign_uplift.yaml"
        ) from None
    return _checked(path, values)


def read_notebook(notebook: bytes) -> dict[str, Any]:
    """The notebook that `notebook` is the text of; Refused if it is none of format 4."""
    try:
        value = json.loads(notebook)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value.get("nbformat") == 4 and isinstance(value.get("cells"), list):
        return value
    raise Refused("NOT_A_NOTEBOOK", "This is not a notebook of format 4.", hint="save it from JupyterLab as .ipynb")


def _checked(path: Path, values: Any) -> ReportDescription:
    if not isinstance(values, dict) or sorted({*values} - {*OPTIONAL}) != sorted(FIELDS):
        raise _wrong(path, f"it needs exactly the fields {', '.join(FIELDS)}")
    if values["cadence"] not in CADENCES:
        raise _wrong(path, f"cadence is one of {', '.join(CADENCES)}")
    if not all(isinstance(values.get(name, ""), str) for name in ("rho_per_run", "delta_per_run")):
        raise _wrong(path, 'rho_per_run is a decimal in quotes, like "0.004", and so is delta_per_run')
    if not isinstance(values["parameters"], dict):
        raise _wrong(path, "parameters is a mapping; {} for none")
    if not all(isinstance(values[name], str) and values[name] for name in ("report", "title", "notebook")):
        raise _wrong(path, "report, title and notebook are texts")
    notebook = (path.parent / values["notebook"]).resolve()
    return ReportDescription(**{**values, "notebook": notebook, "parameters": dict(values["parameters"])})


def _wrong(path: Path, sentence: str) -> Refused:
    return Refused("REPORT_YAML", f"{path.name}: {sentence}.", hint="compare it with pipelines/campaign_uplift.yaml")
