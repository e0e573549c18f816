"""README and tutorials do what they say: their cells in real kernels, their commands in a real shell.

Shown outputs are compared with real ones line by line; numbers, dates and ids may differ, for noise is drawn anew and
the world of the tests is smaller.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from documents import REFUSED, Block, blocks, missing_lines, shown_after, typed
from reference_pages import ROOT
from support.kernels import Kernel, Said, manager_for, running, server_environment
from support.real_world import Gateway, World, notebook

from kaianalytics.lab import kernelspecs

README = ROOT / "README.md"
FIRST = ROOT / "docs" / "tutorial" / "first-notebook.md"
OWN_DATA = ROOT / "docs" / "tutorial" / "bring-your-own-data.md"
FOR_READERS = "4. A notebook for readers"
PURPOSES = [("campaign-analysis", "Campaign analysis"), ("ad-targeting", "Ad targeting")]
CHANGED = "<!-- here the notebook is changed -->"


@dataclass(frozen=True)
class Desk:
    """A folder as the tutorial's reader has it, with a gateway on its home."""

    folder: Path
    gateway: Gateway

    @contextmanager
    def kernel(self, purpose: str) -> Iterator[Kernel]:
        """A kernel of a purpose, for aiko."""
        kernelspecs.install(PURPOSES, self.folder / "share")
        identity = self.gateway.world.token_file("aiko")
        with (
            server_environment(self.gateway.socket, identity, self.folder / "workspaces"),
            running(manager_for(self.folder / "share", f"kai-{purpose}")) as kernel,
        ):
            yield kernel


@pytest.fixture
def desk(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    (folder / ".kai").symlink_to(world.root / "home")
    (folder / "notebooks" / "campaign_analysis").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    with world.gateway() as gateway:
        for report in ("campaign-uplift", "usage-trends", "audience-reach"):  # what `make demo` left behind
            body = {"report": report, "title": report, "cadence": "weekly", "rho_per_run": "0.004", "parameters": {}}
            gateway.as_("aiko").request_json("POST", "/v1/submissions", {**body, "notebook": notebook("1")})
        yield Desk(folder, gateway)


def text_of(said: Said) -> str:
    """Everything that a cell said, its refusal included."""
    error = f"{said.error['ename']}: {said.error['evalue']}" if said.error else ""
    return "\n".join([said.printed, *said.shown, error])


def test_the_readmes_notebook_runs_and_its_refusal_is_the_real_one(desk: Desk) -> None:
    [(cell, _)] = shown_after(README)
    [refusal] = [block for block in blocks(README) if REFUSED.match(block.text)]
    with desk.kernel("campaign-analysis") as kernel:
        assert kernel.run(cell.text).error == {}
    with desk.kernel("ad-targeting") as kernel:
        assert text_of(kernel.run(cell.text)).strip() == refusal.text


def test_the_first_notebook_goes_as_the_page_tells(desk: Desk) -> None:
    with desk.kernel("campaign-analysis") as kernel:
        for block, shown in shown_after(FIRST):
            if block.heading != FOR_READERS:
                demand_as_shown(kernel.run(block.text), block, shown)
    path = save_for_readers(desk)
    change = f"sed -i 's/0.002/0.003/' '{path}'"
    script: list[tuple[str, str]] = []
    for block in blocks(FIRST):
        if block.kind == "console" and block.text.startswith("$ "):
            script += [(change, "")] if CHANGED in block.before else []
            script += typed(block)
    said = run_all(script, desk.folder)
    assert any("ρ 0 charged" in text for text in said), "the same question on the same snapshot is free"


def demand_as_shown(said: Said, block: Block, shown: str) -> None:
    """Fail unless the cell said what the page shows under it, a refusal where it shows one."""
    assert missing_lines(shown, text_of(said)) == [], f"line {block.line}:\n{text_of(said)}"
    assert bool(said.error) == bool(REFUSED.match(shown)), f"line {block.line}:\n{text_of(said)}"


def save_for_readers(desk: Desk) -> Path:
    """Save the page's notebook for readers and its description where the page says; the notebook."""
    cells = [block.text for block in blocks(FIRST) if block.kind == "python" and block.heading == FOR_READERS]
    [tag] = [block.text for block in blocks(FIRST) if block.kind == "json"]
    [description] = [block.text for block in blocks(FIRST) if block.kind == "yaml"]
    source = notebook(purpose="campaign-analysis")
    source["metadata"] = {"kernelspec": source["metadata"]["kernelspec"], **json.loads(f"{{{tag}}}")}
    connect = source["cells"][0]
    source["cells"] = [{**connect, "id": f"cell-{number}", "source": cell} for number, cell in enumerate(cells)]
    path = desk.folder / "notebooks" / "campaign_analysis" / "first_look.ipynb"
    path.write_text(json.dumps(source))
    (desk.folder / description.partition("\n")[0].removeprefix("# ")).write_text(description)
    return path


def test_the_tutorial_on_your_own_data_leads_to_answers(tmp_path: Path) -> None:
    script: list[tuple[str, str]] = [("export CHECKOUT", "")]
    for block in blocks(OWN_DATA):
        if block.kind == "console":
            script += [step for step in typed(block) if not step[0].startswith("export CHECKOUT")]
        elif block.kind in ("python", "yaml"):
            script.append((written(block), ""))
    said = run_all(script, tmp_path, CHECKOUT=str(ROOT))
    assert any("20,000  nothing" in text for text in said)


def written(block: Block) -> str:
    """The shell command that writes a block into the file that its first line names, or replaces the file's end."""
    first, _, rest = block.text.partition("\n")
    name = first.removeprefix("# ").partition(",")[0]
    cut = f"sed -i '/^populations:/,$d' {name}; " if "from `populations:` on" in first else f": > {name}; "
    return f"{cut}cat >> {name} <<'END_OF_BLOCK'\n{rest}\nEND_OF_BLOCK"


def run_all(steps: list[tuple[str, str]], folder: Path, **variables: str) -> list[str]:
    """Type the commands into one shell and compare what each says with what is shown; what each said."""
    marked = "".join(f"{command}\nprintf '\\n@@@ %s\\n' $?\n" for command, _ in steps)
    script = f"trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n{marked}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **variables, "PATH": path, "COLUMNS": "110", "HOME": str(folder)}
    environment = {name: value for name, value in environment.items() if not name.startswith("KAI_")}
    bash = shutil.which("bash") or "bash"
    done = subprocess.run(
        [bash, "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=200,
    )
    outputs = done.stdout.split("\n@@@ ")
    said = [outputs[0], *(text.partition("\n")[2] for text in outputs[1:])]
    codes = [int(text.partition("\n")[0]) for text in outputs[1:]]
    for (command, shown), text, code in zip(steps, said, codes, strict=False):
        refused = any(REFUSED.match(line) for line in shown.split("\n"))
        assert (code != 0) == refused, f"`{command}` ended with {code}:\n{text}"
        assert missing_lines(shown, text) == [], f"`{command}` said:\n{text}"
    assert len(codes) == len(steps)
    return said


def test_the_comparison_notices_a_line_that_is_not_said_and_a_wrong_order() -> None:
    real = "Published. Build 17e50cb20d94, as of 2026-07-01.\nloans  20,000  nothing\nmembers  3,000  nothing\n"
    assert missing_lines("Published. Build aaaaaaaaaaaa, as of 2025-01-01.\n…\nmembers   12  nothing", real) == []
    assert missing_lines("Published. Build …\nmembers …", real) == [] != missing_lines("Published by …", real)
    assert missing_lines("Publishes. Build 17e50cb20d94, as of 2026-07-01.", real) != []
    assert missing_lines("members  3,000  nothing\nloans  20,000  nothing", real) == ["loans  20,000  nothing"]


def test_a_command_that_ends_otherwise_than_shown_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with 1"):
        run_all([("false", "")], tmp_path)
    with pytest.raises(AssertionError, match="ended with 0"):
        run_all([("true", "Refused [X]\n")], tmp_path)
