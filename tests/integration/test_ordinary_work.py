"""What analysts do all day, in a confined kernel: with a view of its own, and as on a machine that gives none."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.confinements import weaker_manager
from support.fake_gateway import IDENTITY, FakeGateway
from support.kernels import Kernel, running, server_environment

from kaianalytics.sandbox import confine
from kaianalytics.sandbox.confinement import Layer

pytestmark = pytest.mark.skipif(bool(confine.missing()), reason=confine.missing())

# what is typed, and what it prints
WORK = {
    "a shell command": ("!echo $((6*7)); ls /usr | grep -c bin", "42\n2\n"),
    "its exit code": ("!exit 3\nprint(_exit_code)", "3\n"),
    "its output as a value": ("x = !printf 'a\\nb\\n'\nprint(x)", "['a', 'b']\n"),
    "a variable of the notebook in it": ("name = 'Hanako'\n!echo {name} $name", "Hanako Hanako\n"),
    "its error output": ("!ls /nowhere", "ls: cannot access '/nowhere': No such file or directory\n"),
    "a cell of bash": ("%%bash\necho from bash\npwd | grep -c workspaces", "from bash\n1\n"),
    "a subprocess": (
        "import subprocess, sys\n"
        "print(subprocess.run([sys.executable, '-c', 'print(6*7)'], capture_output=True, text=True).stdout)",
        "42\n\n",
    ),
    "a temporary file": (
        "import tempfile, os\nwith tempfile.NamedTemporaryFile() as f:\n"
        "    print(f.write(b'abc'), f.name.startswith(os.path.expanduser('~')))",
        "3 True\n",
    ),
    "files of the workspace": (
        "import os, shutil\nos.makedirs('a/b', exist_ok=True)\nopen('a/b/x', 'w').write('x')\n"
        "shutil.copy2('a/b/x', 'y'); os.chmod('y', 0o640); os.utime('y', (1, 1)); os.rename('y', 'a/z')\n"
        "os.symlink('a/z', 'l'); print(open('l').read(), oct(os.stat('l').st_mode)[-3:], int(os.stat('l').st_mtime))\n"
        "shutil.rmtree('a'); os.unlink('l')",
        "x 640 1\n",
    ),
    "polars": (
        "import polars as pl\npl.DataFrame({'a': [1, 2]}).write_parquet('p.parquet')\n"
        "print(pl.scan_parquet('p.parquet').sum().collect().item())",
        "3\n",
    ),
    "pandas": (
        "import pandas as pd\npd.DataFrame({'a': [1, 2]}).to_parquet('d.parquet')\n"
        "print(pd.read_parquet('d.parquet').a.sum())",
        "3\n",
    ),
    "duckdb in memory": (
        "import duckdb\nduckdb.sql('SET threads=4')\n"
        "print(duckdb.sql('SELECT sum(range) FROM range(1000000)').fetchall())",
        "[(499999500000,)]\n",
    ),
    "duckdb on a file": ("import duckdb\nwith duckdb.connect('x.db') as c: c.sql('CREATE TABLE t AS SELECT 1 AS a')\n"
        "with duckdb.connect('x.db', read_only=True) as c: print(c.sql('FROM t').fetchall())", "[(1,)]\n"),
    "a chart as an image": (
        "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
        "plt.savefig('f.png')\n"
        "print(open('f.png', 'rb').read(4))",
        "b'\\x89PNG'\n",
    ),
    "a chart as SVG": (
        "import vl_convert\nspec = {'data': {'values': [{'a': 1}]}, 'mark': 'bar', 'encoding': {'x': {'field': 'a'}}}\n"
        "print(vl_convert.vegalite_to_svg(spec)[:4])",
        "<svg\n",
    ),
    "joblib": (
        "import warnings\nwarnings.simplefilter('ignore')  # without a view of its own it works one after the other\n"
        "from joblib import Parallel, delayed\nprint(Parallel(n_jobs=2)(delayed(abs)(i) for i in (-1, -2, -3)))",
        "[1, 2, 3]\n",
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as e: print(list(e.map(abs, [-1, -2])))",
        "[1, 2]\n",
    ),
    "asyncio": ("import asyncio\nprint(await asyncio.sleep(0, 'slept'))", "slept\n"),
    "time zones and locales": (
        "from zoneinfo import ZoneInfo\nfrom datetime import datetime\n"
        "print(datetime(2026, 1, 1, tzinfo=ZoneInfo('Asia/Tokyo')))",
        "2026-01-01 00:00:00+09:00\n",
    ),
}  # fmt: skip
NEEDS = {"a chart as an image": "matplotlib", "joblib": "joblib", "pandas": "pandas"}
# these need a /dev/shm of their own, which only a view of one's own has
NEEDS_A_VIEW = {
    "a pool of processes": (
        "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, -2]))",
        "[1, 2]\n",
    ),
    "a pool of fresh processes": (
        "import multiprocessing as mp\nwith mp.get_context('spawn').Pool(2) as p: print(p.map(abs, [-1, -2]))",
        "[1, 2]\n",
    ),
}


@pytest.fixture(scope="module", params=["with a view of its own", "in sight of the user's files"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("work")
    (folder / "identity").write_text(IDENTITY)
    without = [] if "its own" in request.param else [Layer.NAMESPACES]
    with (
        server_environment(folder / "g", folder / "identity", folder / "workspaces"),
        FakeGateway(folder / "g").serving(),
        running(weaker_manager(folder / "kernels", "ad-targeting", without)) as started,
    ):
        yield started


def has_a_view(kernel: Kernel) -> bool:
    return kernel.run(f"open('/proc/{kernel.pid}/cmdline').read()").error != {}


@pytest.mark.parametrize("work", WORK)
def test_ordinary_work_goes_on(kernel: Kernel, work: str) -> None:
    if (library := NEEDS.get(work)) and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    typed, printed = WORK[work]
    said = kernel.run(typed)
    # a library may also complain that it can keep no cache
    assert (said.error, said.printed[-len(printed) :]) == ({}, printed)


@pytest.mark.parametrize("work", NEEDS_A_VIEW)
def test_processes_of_its_own_work_where_it_has_a_view(kernel: Kernel, work: str) -> None:
    typed, printed = NEEDS_A_VIEW[work]
    said = kernel.run(typed)
    if has_a_view(kernel):
        assert (said.error, said.printed) == ({}, printed)
    else:
        assert said.error["ename"] in ("PermissionError", "OSError", "FileNotFoundError")


def test_a_name_is_completed(kernel: Kernel) -> None:
    kernel.run("import polars")
    request = kernel.client.complete("polars.DataFr", 13)
    reply = next(
        message
        for message in iter(lambda: kernel.client.get_shell_msg(timeout=30), None)
        if message["parent_header"]["msg_id"] == request
    )
    assert "DataFrame" in " ".join(reply["content"]["matches"])


def test_an_interrupt_ends_a_cell_and_a_command_and_the_kernel_goes_on(kernel: Kernel) -> None:
    for typed in ("import time\nprint('up', flush=True)\ntime.sleep(60)", "!echo up; sleep 60"):
        said = kernel.run(typed, on_print=lambda _: kernel.manager.interrupt_kernel())
        assert (said.printed.split()[0], said.error["ename"]) == ("up", "KeyboardInterrupt")
    assert kernel.run("print(1)").printed == "1\n"


def test_a_notebook_imports_this_package_from_a_folder_it_can_not_list(kernel: Kernel) -> None:
    said = kernel.run("import kaianalytics.client.connection as c, os\nprint(os.path.basename(c.__file__))")
    assert (said.error, said.printed) == ({}, "connection.py\n")


def test_what_a_kernel_writes_is_its_users_alone(kernel: Kernel, tmp_path: Path) -> None:
    said = kernel.run("import os\nopen('mine', 'w').close(); print(oct(os.stat('mine').st_mode)[-3:])")
    assert said.printed == "600\n"
