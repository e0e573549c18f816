"""The whole way once: from sources and contracts to published reports, by the commands a user would type.

    python pipelines/demo.py [--data sample|complete-journey] [--customers N] [--lab]

Everything it makes is in one folder (KAI_HOME, else `.kai` or `.kai-complete-journey`), and it stops what it started. A
second run meets the same home: the same inputs give the same stores, and what was answered is repeated free.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Demo:
    """What differs between the two data sets."""

    home: Path
    contracts: Path
    sources: Sequence[str]  # the command that writes the sources, without the folder
    as_of: str
    reports: Sequence[str]
    wrong_purpose: str
    wrong_question: str


SAMPLE = Demo(
    home=Path(".kai"),
    contracts=Path("data_contracts"),
    sources=("pipelines/sample_warehouse.py", "--customers", "{customers}"),
    as_of="2026-11-01",
    reports=("campaign_uplift", "usage_trends", "audience_reach"),
    wrong_purpose="ad-targeting",
    wrong_question="SELECT arm, COUNT(*) FROM campaign_contacts GROUP BY arm",
)
COMPLETE_JOURNEY = Demo(
    home=Path(".kai-complete-journey"),
    contracts=Path("data_contracts/complete_journey"),
    sources=("pipelines/complete_journey.py",),
    as_of="2018-01-01",
    reports=("campaign_comparison",),
    wrong_purpose="service-improvement",
    wrong_question="SELECT COUNT(*) FROM campaign_contacts",
)


def main() -> None:
    """Run the demonstration, or open JupyterLab on the same."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--data", choices=["sample", "complete-journey"], default="sample")
    options.add_argument("--customers", type=int, default=50_000)
    options.add_argument("--lab", action="store_true")
    chosen = options.parse_args()
    os.chdir(ROOT)
    demo = SAMPLE if chosen.data == "sample" else COMPLETE_JOURNEY
    demo = replace(demo, home=Path(os.environ.setdefault("KAI_HOME", str(demo.home))))
    started = time.monotonic()
    prepare(demo, chosen.customers)
    with gateway():
        if chosen.lab:
            lab(demo)
            return
        for report in demo.reports:
            approve_and_run(demo, report)
        show_refusal(demo)
        show_budget(demo)
    say_what_next(demo, time.monotonic() - started)


def prepare(demo: Demo, customers: int) -> None:
    """Sources, home, contracts, stores, and three people with a token file each."""
    sources = demo.home / "sources"
    step("The custodian's home, and sources: generated here, nothing is downloaded")
    kai("init", "--contracts", str(demo.contracts), "--sources", str(sources))
    script, *options = (part.format(customers=customers) for part in demo.sources)
    run(str(BIN / "python"), script, *options, "--out", str(sources))
    step("The contracts, and a store per purpose and access level")
    kai("contracts", "check", str(demo.contracts))
    kai("build", "--as-of", demo.as_of)
    step("Three identities: an analyst, a privacy reviewer, and the service that runs reports")
    for user in ("aiko", "ren", "runner"):
        kai("identity", "issue", user, "--out", str(token(demo, user)))
    console.print(
        "[yellow]All three are held by one OS user here. This demonstrates the separation of author and reviewer; "
        "it is not the separation, which takes two OS users.[/]"
    )


def approve_and_run(demo: Demo, report: str) -> None:
    """One notebook: submitted by its author, approved by a reviewer, run by Papermill, published."""
    spec = f"pipelines/{report}.yaml"
    step(f"Report {report}: submit → approve → run")
    submitted = kai("submit", spec, identity=token(demo, "aiko"))
    if review := re.search(r"as review (\d+)", submitted):
        kai("review", "approve", review[1], "--note", "purpose and cost agree", identity=token(demo, "ren"))
    kai("report", "run", spec, identity=token(demo, "runner"))


def show_refusal(demo: Demo) -> None:
    """A question for the wrong purpose, asked from a real kernel of that purpose."""
    step(f"A question that {demo.wrong_purpose} does not cover")
    kai(
        "ask",
        "--purpose",
        demo.wrong_purpose,
        "--rho",
        "0.001",
        demo.wrong_question,
        identity=token(demo, "aiko"),
        expect=1,
    )


def show_budget(demo: Demo) -> None:
    """What is left, and when it ends."""
    step("What is left of the privacy budget")
    kai("budget", "show")
    kai("budget", "forecast")


def say_what_next(demo: Demo, seconds: float) -> None:
    """Where the reports are and what to type next."""
    step(f"Done in {seconds:.0f} s")
    for page in sorted((demo.home / "reports").glob("*/latest/report.html")):
        console.print(f"  report   {page}")
    data = "" if demo.contracts == SAMPLE.contracts else " DATA=complete-journey"
    console.print(f"\nNext: [bold]make lab{data}[/] opens JupyterLab with one launcher card per purpose.")
    console.print("      [bold]docs/tutorial/[/] walks through what happened above.")


def lab(demo: Demo) -> None:
    """JupyterLab as aiko, until interrupted."""
    step("JupyterLab: choose a purpose's card. Ctrl-C here stops it.")
    with contextlib.suppress(KeyboardInterrupt):
        kai("lab", "--notebooks", "notebooks", identity=token(demo, "aiko"), echo_only=True)


@contextlib.contextmanager
def gateway() -> Iterator[None]:
    """The gateway process, started here and stopped here."""
    step("The gateway")
    console.print("[dim]$ kai gateway serve &[/]")
    process = subprocess.Popen([BIN / "kai", "gateway", "serve"])
    try:
        kai("gateway", "wait", "--seconds", "60")
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def token(demo: Demo, user: str) -> Path:
    """The file of a person's identity token."""
    return demo.home / "identities" / f"{user}.token"


def step(title: str) -> None:
    """A heading in the output."""
    console.print(f"\n[bold cyan]── {title}[/]")


def kai(*arguments: str, identity: Path | None = None, expect: int = 0, echo_only: bool = False) -> str:
    """Type one `kai` command; its output is shown, and returned."""
    prefix = f"KAI_IDENTITY={identity} " if identity else ""
    environment = {**os.environ, **({"KAI_IDENTITY": str(identity)} if identity else {})}
    quoted = " ".join(f'"{part}"' if " " in part else part for part in arguments)
    console.print(f"[dim]$ {prefix}kai {quoted}[/]", markup=True)
    return execute([str(BIN / "kai"), *arguments], environment, expect, capture=not echo_only)


def run(*command: str) -> str:
    """Type one other command."""
    console.print(f"[dim]$ python {' '.join(command[1:])}[/]")
    return execute(list(command), dict(os.environ), 0, capture=True)


def execute(command: list[str], environment: dict[str, str], expect: int, capture: bool) -> str:
    """Run it; stop the demonstration where it does not end as expected."""
    environment.setdefault("COLUMNS", "110")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    if capture:
        sys.stdout.write(done.stdout)
        sys.stdout.flush()
    if done.returncode != expect:
        console.print(f"[bold red]ended with {done.returncode}, expected {expect}: stopping here[/]")
        raise SystemExit(1)
    return done.stdout or ""


if __name__ == "__main__":
    main()
