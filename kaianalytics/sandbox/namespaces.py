"""A view of its own: a process that sees no file, process, network or shared memory but what its confinement names.

1. User, mount, network, IPC and process namespaces, made together by one fork and without root.
2. The new root is empty. Each path of the confinement is bound into it, read-only unless it may be written; /proc shows
   its own processes, /dev a few nodes, /dev/shm is its own, and the old root is gone.
3. A machine may not have them: some distributions switch unprivileged user namespaces off, and a container may show
   only a part of /proc. Then nothing of it is applied, and that is told.

The child is the first process of its namespaces: when it ends, so does everything that was ever started in there. The
user is the same inside and outside, and no other exists inside.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kaianalytics.sandbox import libc
from kaianalytics.sandbox.confinement import SHARED_MEMORY, Confinement

_NEW_NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x20000000  # user, mount, net, ipc, pid
_NOSUID, _NODEV, _NOEXEC, _BIND, _RECURSIVE = 2, 4, 8, 4096, 16384
_UNBINDABLE, _SLAVE = 1 << 17, 1 << 19
_ATTR_READ_ONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_AT_RECURSIVE, _AT_FDCWD = 0x8000, -100
_SETTINGS = (
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
)  # of the whole system: root could change them
_OWN = ("/proc", "/dev")  # made anew in here, not bound; nodes of /dev that a confinement names are bound into it


def fork() -> int:
    """Fork a child in new namespaces, with this process's user and no way to become another; as os.fork."""
    user, group = os.getuid(), os.getgid()
    pid = libc.fork_into(_NEW_NAMESPACES)
    if pid == 0:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    return pid


def enter(confinement: Confinement) -> None:
    """Make the confinement's paths the only ones that exist. In the child of `fork`; OSError where that can't be."""
    libc.mount("", "/", "", _SLAVE | _RECURSIVE)
    base = confinement.sockets[0] + "/.root"  # an empty folder to build on; it stays, empty, with the runtime folder
    with _opened(confinement.paths) as sources:
        Path(base).mkdir(exist_ok=True)
        libc.mount("tmpfs", base, "tmpfs", _NOSUID | _NODEV, "mode=0755,size=1m,nr_inodes=4096")
        libc.mount("", base, "", _UNBINDABLE)  # else the new root would lie in itself once more
        _system(base, confinement.shared_memory)
        read_only = {*confinement.run, *confinement.read}
        for path, descriptor in sources.items():
            if path not in _OWN:
                place = _place(base, path)
                libc.mount(f"/proc/self/fd/{descriptor}", place, "", _BIND | _RECURSIVE)
                _harden(place, read_only=path in read_only, device=path.startswith("/dev/"))
    _change_root(base)


def _system(root: str, shared_memory: int) -> None:
    """/proc, /dev and /dev/shm of the new root."""
    for folder in ("/proc", "/dev"):
        Path(root + folder).mkdir()
    libc.mount("proc", root + "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    for place in (root + part for part in _SETTINGS if Path(root + part).exists()):
        libc.mount(place, place, "", _BIND | _RECURSIVE)
        _set_attributes(place, _ATTR_READ_ONLY, _AT_RECURSIVE)
    Path(root + "/dev/fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        Path(f"{root}/dev/{name}").symlink_to(f"/proc/self/fd/{number}")
    if shared_memory:
        Path(root + SHARED_MEMORY).mkdir()
        options = f"mode=0700,size={shared_memory},nr_inodes=65536"
        libc.mount("tmpfs", root + SHARED_MEMORY, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)


def _change_root(new: str) -> None:
    os.chdir(new)
    libc.pivot_root(".", ".")
    libc.detach(".")  # the old root, which was put under the new one
    os.chdir("/")
    _set_attributes("/", _ATTR_READ_ONLY, 0)


@contextmanager
def _opened(paths: Iterable[str]) -> Iterator[dict[str, int]]:
    """Descriptors of the paths, the shorter ones first: a path beneath another is bound after it."""
    descriptors: dict[str, int] = {}
    try:
        for path in sorted(dict.fromkeys(paths), key=len):
            descriptors[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        yield descriptors
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def _place(root: str, path: str) -> str:
    """The place of `path` in the new root, made with every folder above it; links on the way are made as they are."""
    place, real = root, Path("/")
    for part in Path(path).parts[1:]:
        real = real / part
        place = f"{place}/{part}"
        if real.is_symlink():
            return _through(root, place, real, Path(path))
        if not os.path.lexists(place):
            Path(place).mkdir() if real.is_dir() else Path(place).touch()
    return place


def _through(root: str, place: str, link: Path, path: Path) -> str:
    """The place that a link on the way leads to."""
    with suppress(FileExistsError):
        Path(place).symlink_to(link.readlink())
    return _place(root, os.path.realpath(link) + str(path)[len(str(link)) :])


def _harden(place: str, *, read_only: bool, device: bool) -> None:
    attributes = _ATTR_NOSUID | (_ATTR_READ_ONLY if read_only else 0) | (0 if device else _ATTR_NODEV)
    _set_attributes(place, attributes, _AT_RECURSIVE)


def _set_attributes(place: str, attributes: int, flags: int) -> None:
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    libc.syscall(libc.MOUNT_SETATTR, _AT_FDCWD, os.fsencode(place), flags, wanted, len(wanted))


def _write(file: str, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
