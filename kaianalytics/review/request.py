"""What an analyst asks a reviewer to approve, checked before anything is stored.

Laws: each field is refused by name if it is not as it should be; a ρ is kept in plain digits, for it is signed, shown
and multiplied; a reviewer reads all that is approved, so a notebook is of bounded length and holds no character that
hides others.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kaianalytics.errors import Refused, ReviewRefused
from kaianalytics.privacy.loss import PrivacyLoss
from kaianalytics.review.forecast import RUNS_PER_WEEK
from kaianalytics.review.passport import NotebookSource

REPORT_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LINES_MAX, CHARACTERS_MAX = 5_000, 300_000
DEAREST_DELTA = Decimal("0.001")  # of one run: beyond it δ is a promise of nothing


def read_request(body: Mapping[str, Any], uid: int, dearest: PrivacyLoss) -> dict[str, Any]:
    """What is asked for from which OS user, checked field by field; a run may cost at most `dearest`. Else Refused."""
    report, title, cadence = (str(body.get(name, "")) for name in ("report", "title", "cadence"))
    if not REPORT_NAME.fullmatch(report) or len(report) > 60:
        raise Refused(
            "REPORT_NAME", "A report's name is lower-case words joined by hyphens.", hint="such as usage-trends"
        )
    if not 1 <= len(title) <= 120:
        raise Refused("REPORT_TITLE", "A report has a title of at most 120 characters.")
    if cadence not in RUNS_PER_WEEK:
        raise Refused("REPORT_CADENCE", f"A cadence is one of {', '.join(RUNS_PER_WEEK)}.")
    return {
        "report": report,
        "title": title,
        "cadence": cadence,
        "rho_per_run": _rho(body.get("rho_per_run"), dearest),
        "delta_per_run": _delta(body.get("delta_per_run", "0")),
        "parameters": _parameters(body.get("parameters", {})),
        "uid": uid,
    }


def _rho(value: Any, dearest: PrivacyLoss) -> str:
    try:
        if isinstance(value, str) and 0 < (loss := PrivacyLoss.of(value)).rho_units <= dearest.rho_units:
            return f"{loss.rho.normalize():f}"
    except ValueError:
        pass
    raise Refused(
        "RHO_PER_RUN",
        f"A report says what one run may cost, as a positive decimal of at most {dearest.rho:f}.",
        hint='rho_per_run: "0.004"',
    )


def _delta(value: Any) -> str:
    try:
        if isinstance(value, str) and (delta := PrivacyLoss.of(0, value).delta) <= DEAREST_DELTA:
            return f"{delta.normalize():f}"
    except ValueError:
        pass
    raise Refused(
        "DELTA_PER_RUN",
        f"A report says what δ one run may spend on keys that are not declared, a decimal of at most {DEAREST_DELTA}.",
        hint='delta_per_run: "0.00000001", or leave it out',
    )


def demand_readable(title: str, source: NotebookSource) -> None:
    """ReviewRefused unless a reviewer can read all of it: of bounded length, and no character that hides others."""
    lines = sum(1 + cell.source.count("\n") for cell in source.cells)
    if lines > LINES_MAX or sum(len(cell.source) for cell in source.cells) > CHARACTERS_MAX:
        raise ReviewRefused(
            "TOO_LONG_TO_REVIEW",
            f"The notebook has more than {LINES_MAX:,} lines or {CHARACTERS_MAX:,} characters.",
            rule="a reviewer reads all that is approved",
            hint="split it into several reports",
        )
    texts = (title, *(text for cell in source.cells for text in (cell.source, *cell.tags)))
    if "\n" in title or any(_hides(character) for text in texts for character in set(text)):
        raise ReviewRefused(
            "HIDDEN_CHARACTERS",
            "The title or a cell holds a control character, or one that turns or hides the text around it.",
            rule="what a reviewer reads is what runs",
            hint="retype the line; in a string write the character as an escape, such as \\u200e",
        )


def _hides(character: str) -> bool:
    """Controls, format characters and odd line ends; the joiners that some scripts are written with are none."""
    category = unicodedata.category(character)
    return category in ("Cc", "Cf", "Zl", "Zp") and character not in "\n\t\u200c\u200d"


def _parameters(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and all(
        isinstance(name, str) and name.isidentifier() and _is_plain(item) for name, item in value.items()
    ):
        return dict(value)
    raise ReviewRefused("PARAMETERS", "Parameters are names with plain values.", hint="numbers, texts and truth values")


def _is_plain(value: Any) -> bool:
    """Whether JSON has this value, and it holds no others: 1e999 in JSON text is no number here."""
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
