"""The level `full`: the set-up script, run as root; then custodian, platform and kernels as three OS users."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.other_users import reachable
from support.real_world import AS_OF, PROJECT, World, soon

from kaianalytics.protocol import FULL, isolation_sentence
from kaianalytics.sandbox import confine

pytestmark = [
    pytest.mark.skipif(bool(confine.missing()), reason=confine.missing()),
    pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to make OS users"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv (util-linux)"),
]
SCRIPT = PROJECT / "pipelines" / "full_isolation.sh"
# run by the platform: one kernel, a cell of each line, what they printed as JSON
IN_A_KERNEL = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support.kernels import manager_for, running
from kaianalytics.lab import kernelspecs
import os
share = Path(os.environ["KAI_LAB"]) / "share"
kernelspecs.install([("service-improvement", "Services")], share)
said, facts = [], {}
with running(manager_for(share, "kai-service-improvement")) as kernel:
    for code in json.loads(sys.argv[2]):
        heard = kernel.run(code)
        said.append(heard.printed or heard.error.get("ename", ""))
    kernel.restart()
    said.append(kernel.run("import kaianalytics; print(len(kaianalytics.connect().datasets()) > 0)").printed)
    folder = Path(kernel.manager.ip).parent
    facts = {"owner": folder.stat().st_uid, "kernel": os.stat(f"/proc/{kernel.pid}").st_uid}
print(json.dumps({"said": said, **facts, "gone": not folder.exists()}))
"""


@dataclass(frozen=True)
class Three:
    """The three users, set up."""

    root: Path
    name: str

    def run(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The script, with arguments."""
        return subprocess.run(
            reachable([SCRIPT, *arguments]),
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=240,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAI_ROOT": str(self.root),
            "KAI_NAME": self.name,
            "KAI_BIN": str(Path(sys.executable).parent),
        }

    def uid(self, role: str) -> int:
        """The id of one of the users."""
        import pwd

        return pwd.getpwnam(f"{self.name}-{role}").pw_uid

    def in_a_kernel(self, *cells: str) -> dict[str, object]:
        """What cells say in a kernel that the platform starts for aiko."""
        support = str(PROJECT / "tests")
        ran = self.run("as-platform", "aiko", "python", "-c", IN_A_KERNEL, support, json.dumps(cells), check=False)
        assert ran.returncode == 0, ran.stderr[-2000:]
        return dict(json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def three(template: World) -> Iterator[Three]:
    root = Path(tempfile.mkdtemp(prefix="kai-full-"))
    root.chmod(0o755)
    made = Three(root / "srv", f"kaitest{os.getpid()}")
    for folder in ("contracts", "sources"):
        shutil.copytree(template.root / folder, root / folder)
    try:
        subprocess.run(["chmod", "-R", "a+rX", root], check=True)
        set_up = made.run("set-up", root / "contracts", root / "sources", AS_OF, check=False)
        assert set_up.returncode == 0, set_up.stdout + set_up.stderr
        made.run("identity", "aiko")
        process = subprocess.Popen(reachable([SCRIPT, "gateway"]), env=made.environment)
        try:
            assert soon(lambda: (made.root / "run" / "gateway.sock").exists(), 60)
            yield made
        finally:
            process.terminate()
            process.wait(30)
    finally:
        made.run("remove", check=False)
        shutil.rmtree(root)


def test_a_kernel_of_a_third_user_answers_and_says_that_isolation_is_full(three: Three) -> None:
    said = three.in_a_kernel(
        "import kaianalytics; kai = kaianalytics.connect()",
        "print(kai.sql('SELECT COUNT(*) AS n FROM sessions').item() > 0)",
        "print(kai.last.isolation)",
        "import os; print(os.getuid(), oct(os.stat('.').st_mode))",
        "open('mine', 'w').close(); print(oct(os.stat('mine').st_mode)[-3:])",
        "!echo shell",
        "print(open('/proc/self/status').read().split('CapEff:')[1].split()[0])",
    )
    kernel = three.uid("kernel")
    who = f"{kernel} 0o42770"
    printed = ["", "True", isolation_sentence(FULL), who, "660", "shell", "0000000000000000", "True"]
    assert said["said"] == [line and line + "\n" for line in printed]
    assert (said["kernel"], said["owner"], said["gone"]) == (kernel, kernel, True)


def test_each_of_the_three_reaches_only_what_is_its_own(three: Three) -> None:
    home, run, platform = three.root / "home", three.root / "run", three.root / "platform"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home, run)] == [0o700, 0o2750]
    assert {path.stat().st_uid for path in home.rglob("*")} == {three.uid("custodian")}
    tried = {
        ("as-platform", "aiko", "ls", home): False,
        ("as-platform", "aiko", "test", "-w", run / "gateway.sock"): True,
        ("as-custodian", "ls", platform / "identities"): False,
        ("as-platform", "aiko", "cat", platform / "identities" / "aiko"): True,
    }
    assert {command: three.run(*command, check=False).returncode == 0 for command in tried} == tried
    # a kernel that came out of its wall would be this user, and would still reach neither
    outside = ["setpriv", "--reuid", f"{three.name}-kernel", "--regid", f"{three.name}-kernel", "--clear-groups"]
    for command in (["ls", home], ["test", "-e", run / "gateway.sock"], ["cat", platform / "identities" / "aiko"]):
        assert subprocess.run([*outside, *command], capture_output=True, check=False).returncode != 0


def test_a_token_is_good_from_the_platforms_user_alone(three: Three) -> None:
    stolen = (three.root / "platform" / "identities" / "aiko").read_text()
    copy = three.root / "home" / "stolen"
    copy.write_text(stolen)
    os.chown(copy, three.uid("custodian"), -1)
    said = three.run(
        "as-custodian", "env", f"KAI_IDENTITY={copy}", f"KAI_SOCKET={three.root}/run/gateway.sock",
        "kai", "workspace", "list", check=False,
    )  # fmt: skip
    copy.unlink()
    assert said.returncode == 1 and "WRONG_OS_USER" in said.stdout


def test_doctor_says_full_to_the_platform(three: Three) -> None:
    said = three.run("as-platform", "aiko", "kai", "doctor", check=False)
    assert "Isolation: full." in said.stdout, said.stdout + said.stderr
    assert (
        f"custodian {three.name}-custodian, platform {three.name}-platform, kernels {three.name}-kernel" in said.stdout
    )
