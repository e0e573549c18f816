"""JupyterLab as an analyst meets it: a card per purpose, a question and its answer, a refusal in three lines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect
from support.browser import NotebookPage, Watched
from support.real_world import PROJECT, PYTHON, World, running_processes, soon

PASSWORD = "for-this-test"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Lab:
    """A running `kai lab`."""

    address: str
    identity: Path  # the token file that it reads at each kernel's start

    @contextmanager
    def page(self, chromium: Browser, path: str = "") -> Iterator[Watched]:
        """A fresh browser's page on it, loaded."""
        with chromium.new_context(viewport={"width": 1280, "height": 1600}) as context:
            watched = Watched(context.new_page())
            watched.page.goto(f"{self.address}lab{path}?token={PASSWORD}&reset")
            watched.page.locator("#jupyterlab-splash").wait_for(state="detached")
            yield watched


@pytest.fixture(scope="module")
def lab(template: World, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    world = template.copy(tmp_path_factory.mktemp("lab"))
    notebooks = world.root / "notebooks"
    shutil.copytree(PROJECT / "notebooks", notebooks, ignore=shutil.ignore_patterns(".*"))
    identity = Path(shutil.copy(world.token_file("aiko"), world.root / "lab.token"))
    with world.gateway(), started(world, notebooks, identity) as address:
        yield Lab(address, identity)


@contextmanager
def started(world: World, notebooks: Path, identity: Path) -> Iterator[str]:
    """`kai lab` as typed; its address. Ended as a service manager would, it leaves no server behind."""
    home = world.root / "home"
    environment = {
        **os.environ, "KAI_HOME": str(home), "KAI_IDENTITY": str(identity), "JUPYTER_TOKEN": PASSWORD,
        "HOME": str(world.root),
    }  # fmt: skip
    command = [PYTHON.parent / "kai", "lab", "--notebooks", notebooks, "--port", "0", "--no-browser"]
    with (world.root / "lab.out").open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        server = server_facts(home / "lab" / "runtime", process)
        yield f"http://127.0.0.1:{server['port']}/"
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert soon(lambda: server["pid"] not in running_processes())
    finally:
        process.kill()
        process.wait()


def server_facts(runtime: Path, process: subprocess.Popen[bytes]) -> dict[str, int]:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            return dict(json.loads(file.read_text()))
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not start")


def card(watched: Watched, title: str) -> Locator:
    return watched.page.locator(".jp-LauncherCard[data-category='Notebook']").filter(has_text=title)


def open_card(watched: Watched, title: str) -> NotebookPage:
    card(watched, title).click()
    notebook = NotebookPage(watched.page)
    notebook.wait_for_kernel(f"Kai: {title}")
    return notebook


def test_the_launcher_has_one_notebook_card_per_open_purpose_and_no_terminal(lab: Lab, chromium: Browser) -> None:
    with lab.page(chromium) as watched:
        cards = watched.page.locator(".jp-LauncherCard")
        cards.first.wait_for()
        notebooks = watched.page.locator(".jp-LauncherCard[data-category='Notebook'] .jp-LauncherCard-label")
        assert sorted(notebooks.all_inner_texts()) == [
            "Kai: Ad targeting",
            "Kai: Campaign analysis",
            "Kai: Service improvement",
        ]
        everything = " ".join(cards.all_inner_texts())
        assert "Terminal" not in everything and "Python 3" not in everything
        assert watched.hosts == {"127.0.0.1"}


@pytest.fixture(scope="module")
def opened(lab: Lab, chromium: Browser) -> Iterator[Watched]:
    """A new notebook from a purpose's card, connected."""
    with lab.page(chromium) as watched:
        notebook = open_card(watched, "Service improvement")
        said = notebook.run("import kaianalytics\nkai = kaianalytics.connect()\nkai")
        assert "kaianalytics for service-improvement, as aiko\nAsk: kai.datasets()" in said.last.inner_text()
        yield watched


def test_the_datasets_are_tables_that_say_how_to_ask(opened: Watched) -> None:
    datasets = NotebookPage(opened.page).run("kai.datasets()").last
    assert "sessions: Sessions on the services. Ask with kai.sql and kai.stats." in datasets.inner_text()
    assert "customers: Customers. Ask with kai.stats." in datasets.inner_text()
    assert datasets.locator("table").count() == 3


def test_rows_come_as_a_frame(opened: Watched) -> None:
    rows = NotebookPage(opened.page).run('kai.sql("SELECT device, COUNT(*) AS n FROM sessions GROUP BY device")').last
    assert {"phone", "computer", "tablet", "television"} <= set(rows.inner_text().replace('"', "").split())


def test_statistics_come_with_error_bars_as_table_and_as_chart(opened: Watched) -> None:
    notebook = NotebookPage(opened.page)
    stats = notebook.run('kai.stats("SELECT device, COUNT(*) AS n FROM sessions GROUP BY device", rho="0.001")').last
    figures = stats.locator("tbody td:nth-child(2)").all_inner_texts()
    assert len(figures) == 4 and all("±" in figure for figure in figures)
    assert "ρ 0.001 charged" in stats.inner_text()
    chart = notebook.run("_.chart()").last.locator("svg, img").first.bounding_box()
    assert chart is not None and chart["width"] > 200 and chart["height"] > 200
    assert opened.hosts == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("question", "said", "to_do"),
    [
        (
            'kai.sql("SELECT arm, COUNT(*) FROM campaign_contacts GROUP BY arm")',
            "`campaign_contacts` is not in the data of purpose `service-improvement`.",
            "it is for: campaign-analysis",
        ),
        ('kai.sql("SELECT device FROM session")', "There is no view `session` for this purpose", "perhaps `sessions`"),
    ],
)
def test_a_refusal_is_a_few_lines_without_a_traceback(opened: Watched, question: str, said: str, to_do: str) -> None:
    text = NotebookPage(opened.page).run(question).last.inner_text().strip()
    assert said in text and "\nRule: " in text and f"What to do: {to_do}" in text
    assert "Traceback" not in text and len(text.splitlines()) == (5 if "line 1, column " in text else 3)


def test_tab_completes_what_kai_can_do(opened: Watched) -> None:
    opened.page.locator(".jp-Notebook .jp-CodeCell").last.locator(".cm-content").click()
    opened.page.keyboard.type("kai.")
    opened.page.wait_for_timeout(200)  # Lab answers a Tab by what its editor has told it of the typing
    opened.page.keyboard.press("Tab")
    offered = opened.page.locator(".jp-Completer-item")
    offered.first.wait_for()
    assert {"sql", "stats", "datasets", "budget"} <= set(" ".join(offered.all_inner_texts()).split())


def test_a_question_in_sql_is_completed_as_it_is_typed_and_answered(opened: Watched) -> None:
    page, cells = opened.page, opened.page.locator(".jp-Notebook .jp-CodeCell")
    cells.last.locator(".cm-content").click()
    page.keyboard.press("Control+A")  # over what the test before left there
    page.keyboard.type("%%kai rho=0.001 as=visits\nSELECT device, COUNT(*) AS n FROM sess")
    page.wait_for_timeout(200)  # Lab answers a Tab by what its editor has told it of the typing
    page.keyboard.press("Tab")
    expect(page.locator(".jp-Completer:visible")).to_contain_text("sessions")
    page.keyboard.press("Enter")
    expect(cells.last.locator(".cm-content")).to_contain_text("FROM sessions")
    page.keyboard.type(" GROUP BY device")
    page.keyboard.press("Shift+Enter")
    table = page.locator(".jp-Notebook .kai-release table").last
    expect(table).to_contain_text("television")
    assert "±" in table.inner_text()


def test_a_purposes_notebook_opens_with_its_kernel_from_the_files(lab: Lab, chromium: Browser) -> None:
    with lab.page(chromium, "/tree/campaign_analysis/campaign_uplift.ipynb") as watched:
        notebook = NotebookPage(watched.page)
        notebook.wait_for_kernel("Kai: Campaign analysis")
        watched.page.get_by_role("menuitem", name="Run", exact=True).click()
        watched.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        title = watched.page.locator(".jp-RenderedMarkdown h1").first
        title.wait_for()
        assert "autumn coupon" in title.inner_text()


def test_a_kernel_that_may_not_start_says_why_in_the_gateways_words(
    lab: Lab, chromium: Browser, template: World
) -> None:
    aiko = lab.identity.read_text()
    lab.identity.write_text(template.token_file("mio").read_text())  # an analyst without any grant
    try:
        with lab.page(chromium) as watched:
            card(watched, "Ad targeting").click()
            dialog = watched.page.locator(".jp-Dialog").last
            dialog.wait_for()
            text = dialog.inner_text()
            assert "exploration grant" in text and "What to do: " in text, text
    finally:
        lab.identity.write_text(aiko)
