"""A process that rotates one key and is killed after a step: `rotator.py HOME KIND STEP`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaianalytics.custody import key_file
from kaianalytics.custody.home import Home
from kaianalytics.gateway import rotation
from kaianalytics.gateway.tokens import utc_now
from kaianalytics.records.database import Records
from kaianalytics.records.head import HeadFile


def killed_after(function: Callable[..., Any], *, when: Callable[[], bool] = lambda: True) -> Callable[..., Any]:
    """The function, by whose end the process is killed."""

    def run(*arguments: Any, **named: Any) -> Any:
        found = function(*arguments, **named)
        if when():
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return run


def main(home: Home, kind: Any, step: str) -> None:
    """Rotate, with the step's end being the process's."""
    replaced: list[bool] = []
    if step == "begun":
        Records.append = killed_after(Records.append)  # type: ignore[method-assign]
    elif step == "written aside":
        key_file._written_aside = killed_after(key_file._written_aside)
    elif step == "replaced":
        key_file.replace = killed_after(key_file.replace)
    elif step == "headed":
        sound = key_file.replace
        key_file.replace = lambda *a: (sound(*a), replaced.append(True))  # type: ignore[assignment, func-returns-value]
        HeadFile.write = killed_after(HeadFile.write, when=lambda: bool(replaced))  # type: ignore[method-assign]
    rotation.rotate(home, kind, utc_now())


if __name__ == "__main__":
    main(Home.open(Path(sys.argv[1])), sys.argv[2], sys.argv[3])
