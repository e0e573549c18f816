"""What an analyst may try from inside a kernel: each attack as Python that is run there, and the layers that stop it.

`W` holds what the attacker is taken to know already: every path, process id, name and token that it could be after. An
attack goes through if its function returns something true. `holds` are the layers that each stop it alone; an attack
that only the gateway stops names none, and is in `TOKEN_ATTACKS`.
"""

# ruff: noqa: E501    an attack is read in one piece

from __future__ import annotations

import os
from dataclasses import dataclass

from kaianalytics.sandbox.confinement import Layer

LIMITS, CGROUPS, NAMESPACES = Layer.LIMITS, Layer.CGROUPS, Layer.NAMESPACES
CAPABILITIES, LANDLOCK, SECCOMP = Layer.CAPABILITIES, Layer.LANDLOCK, Layer.SECCOMP

# what every attack may use; `call` is a system call by its number on this machine
PRELUDE = """
import ctypes, errno, fcntl, glob, json, mmap, os, resource, signal, socket, stat, struct, subprocess, sys, threading
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    got = libc.syscall(ctypes.c_long(N[name]), *[a if isinstance(a, (bytes, ctypes.Array)) or a is None
                                                 else ctypes.c_long(a) for a in arguments])
    if got == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got
def in_child(work):
    # what ends the process ends a child of it; the child's exit code is the answer
    pid = os.fork()
    if pid == 0:
        try:
            code = 42 if work() else 1
        except BaseException:
            code = 2
        os._exit(code)
    return os.waitpid(pid, 0)[1] == 42 << 8
def too_long(*_):
    raise TimeoutError('it took too long')
signal.signal(signal.SIGALRM, too_long)
def has_secret(text):
    return W["secret"] in (text if isinstance(text, str) else bytes(text).decode(errors="replace"))
"""


@dataclass(frozen=True)
class Attack:
    """One attack: a name, the body of a function, and the layers of which each stops it."""

    name: str
    code: str
    holds: tuple[Layer, ...]
    as_root: bool = False  # it can only be made by root, with or without a wall
    naked: bool = True  # it may be made where there is no wall at all, and then goes through
    optional: bool = False  # what it asks of the operating system is not built into each
    by_capabilities: bool = False  # it reaches into a process that has some where all is run as root, and needs as many

    @property
    def stopped_by(self) -> frozenset[Layer]:
        """The layers that each stop it here."""
        more = {CAPABILITIES} if self.by_capabilities and os.geteuid() == 0 else set()
        return frozenset({*self.holds, *more})


FILES = (
    Attack("read the custodian's keys", "return Path(W['keys']).read_text()", (NAMESPACES, LANDLOCK)),
    Attack("read the records", "return Path(W['records']).read_bytes()", (NAMESPACES, LANDLOCK)),
    Attack("read a store file", "return open(W['store'], 'rb').read(100)", (NAMESPACES, LANDLOCK)),
    Attack("read the server's identity token", "return Path(W['identity']).read_text()", (NAMESPACES, LANDLOCK)),
    Attack("read the custodian's log", "return Path(W['log']).read_text()", (NAMESPACES, LANDLOCK)),
    Attack("read a file of another purpose's workspace", "return has_secret(Path(W['other_file']).read_text())",
        (NAMESPACES, LANDLOCK)),
    Attack("list another purpose's workspace", "return os.listdir(os.path.dirname(W['other_file']))",
        (NAMESPACES, LANDLOCK)),
    Attack("write into another purpose's workspace",
        "return Path(os.path.dirname(W['other_file']), 'planted').write_text('x')", (NAMESPACES, LANDLOCK)),
    Attack("read another kernel's history", "return has_secret(Path(W['history']).read_bytes())", (NAMESPACES, LANDLOCK)),
    Attack("read another notebook's checkpoint", "return has_secret(Path(W['checkpoint']).read_text())",
        (NAMESPACES, LANDLOCK)),
    Attack("list the custodian's home", "return os.listdir(W['home'])", (NAMESPACES, LANDLOCK)),
    Attack("read through a planted link", "os.symlink(W['outside_file'], 'link-1')\nreturn open('link-1').read()",
        (NAMESPACES, LANDLOCK)),
    Attack("read through a chain of links and ..",
        "os.symlink('..', 'up'); os.symlink('/' + '../' * 20 + W['outside_file'][1:], 'link-2')\n"
        "return open('up/' + os.path.basename(os.getcwd()) + '/link-2').read()", (NAMESPACES, LANDLOCK)),
    Attack("link a file from outside into the workspace", "os.link(W['outside_file'], 'hard')\nreturn open('hard').read()",
        (NAMESPACES, LANDLOCK)),
    Attack("move a file from outside into the workspace",
        "os.rename(W['outside_move'], 'moved')\nback = open('moved').read()\nos.rename('moved', W['outside_move'])\nreturn back",
        (NAMESPACES, LANDLOCK)),
    Attack("read through /proc/self/root", "return open('/proc/self/root' + W['outside_file']).read()",
        (NAMESPACES, LANDLOCK)),
    Attack("read through the root of a process outside",
        "return open(f\"/proc/{W['me']}/root{W['outside_file']}\").read()", (NAMESPACES, LANDLOCK), by_capabilities=True),
    Attack("read through another kernel's working folder",
        "return open(f\"/proc/{W['me']}/cwd/../../../..{W['outside_file']}\").read() or os.listdir(f\"/proc/{W['me']}/cwd\")",
        (NAMESPACES, LANDLOCK), by_capabilities=True),
    Attack("read an open file of a process outside", "return has_secret(open(W['open_file']).read())",
        (NAMESPACES, LANDLOCK), by_capabilities=True),
    Attack("read by a descriptor that was opened without rights",
        "d = os.open(W['outside_file'], os.O_PATH)\nreturn open(f'/proc/self/fd/{d}').read()", (NAMESPACES, LANDLOCK)),
    Attack("empty a file outside", "os.truncate(W['outside_scratch'], 0)\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("delete a file outside", "os.unlink(W['outside_deletable'])\nopen(W['outside_deletable'], 'w').close()\nreturn True",
        (NAMESPACES, LANDLOCK)),
    Attack("make a file in a folder that all may write", "p = Path('/tmp/' + W['word'])\np.write_text('x')\np.unlink()\nreturn True",
        (NAMESPACES, LANDLOCK)),
    Attack("read what was left in shared memory", "return has_secret(open('/dev/shm/' + W['word']).read())",
        (NAMESPACES, LANDLOCK)),
    Attack("plant a module in the environment",
        "p = Path(W['packages'], W['word'] + '.py')\np.write_text('')\np.unlink()\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("plant a module in this package", "p = Path(W['package'], W['word'] + '.py')\np.write_text('')\np.unlink()\nreturn True",
        (NAMESPACES, LANDLOCK)),
    Attack("change the launcher", "open(W['launcher'], 'r+').close()\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("plant a kernelspec", "p = Path(W['kernels'], W['word'])\np.mkdir()\np.rmdir()\nreturn True",
        (NAMESPACES, LANDLOCK)),
    Attack("change a kernelspec", "open(W['kernelspec'], 'r+').close()\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("change a notebook of the server", "open(W['notebook'], 'r+').close()\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("run a program that was brought in",
        "Path('program').write_bytes(Path('/bin/true').read_bytes()); os.chmod('program', 0o700)\n"
        "return subprocess.run(['./program']).returncode == 0", (LANDLOCK,)),
    Attack("see how large a file outside is", "return os.stat(W['outside_file']).st_size", (NAMESPACES,)),
    Attack("open the mode of a file outside", "return libc.chmod(os.fsencode(W['outside_scratch']), 0o644) == 0", (NAMESPACES, SECCOMP)),
    Attack("change the times of a file outside", "return libc.utimes(os.fsencode(W['outside_scratch']), None) == 0",
        (NAMESPACES, SECCOMP)),
    Attack("mark a file outside", "os.setxattr(W['outside_scratch'], 'user.mark', b'x')\nreturn True",
        (NAMESPACES, SECCOMP)),
    Attack("watch a folder outside",
        "d = libc.inotify_init()\nw = libc.inotify_add_watch(d, os.fsencode(os.path.dirname(W['other_file'])), 0x100)\nos.close(d)\nreturn w >= 0",
        (NAMESPACES, SECCOMP)),
    Attack("read the shadow file", "return open('/etc/shadow').read()", (NAMESPACES, LANDLOCK), as_root=True),
    Attack("make a device node",
        "os.mknod('disk', 0o600 | stat.S_IFBLK, os.stat(W['outside']).st_dev)\nos.unlink('disk')\nreturn True",
        (NAMESPACES, CAPABILITIES, LANDLOCK), as_root=True),
    Attack("leave the control group", "open(glob.glob('/sys/fs/cgroup/**/cgroup.procs', recursive=True)[0], 'r+').close()\nreturn True",
        (NAMESPACES, LANDLOCK), as_root=True),
    Attack("set a variable of the system", "p = '/proc/sys/kernel/core_pattern'\nv = open(p).read()\nopen(p, 'w').write(v)\nreturn True",
        (NAMESPACES, LANDLOCK), as_root=True),
)  # fmt: skip

PROCESSES = (
    Attack("see the command lines of other processes", "return open(f\"/proc/{W['me']}/cmdline\").read()", (NAMESPACES,)),
    Attack("read the gateway's environment", "return open(f\"/proc/{W['gateway']}/environ\").read()",
        (NAMESPACES, LANDLOCK), by_capabilities=True),
    Attack("read another kernel's environment", "return open(f\"/proc/{W['victim']}/environ\").read()",
        (NAMESPACES, LANDLOCK)),
    Attack("read another kernel's memory",
        "d = os.open(f\"/proc/{W['victim']}/mem\", os.O_RDONLY)\n"
        "at = int(open(f\"/proc/{W['victim']}/maps\").read().split('-')[0], 16)\nreturn os.pread(d, 4, at)",
        (NAMESPACES, LANDLOCK)),
    Attack("read another kernel's memory by process_vm_readv",
        "at = int(open(f\"/proc/{W['victim']}/maps\").read().split('-')[0], 16)\nb = ctypes.create_string_buffer(4)\n"
        "l, r = struct.pack('QQ', ctypes.addressof(b), 4), struct.pack('QQ', at, 4)\n"
        "return call('process_vm_readv', W['victim'], l, 1, r, 1, 0) == 4", (NAMESPACES, LANDLOCK, SECCOMP)),
    Attack("trace another kernel",
        "call('ptrace', 16, W['victim'], 0, 0)\nos.waitpid(W['victim'], 0x40000000)\ncall('ptrace', 17, W['victim'], 0, 0)\nreturn True",
        (NAMESPACES, LANDLOCK, SECCOMP)),
    Attack("trace itself by a child", "return in_child(lambda: call('ptrace', 0, 0, 0, 0) == 0)", (SECCOMP,)),
    Attack("take a descriptor out of another kernel",
        "p = os.pidfd_open(W['victim'])\nd = call('pidfd_getfd', p, 0, 0)\nos.close(d)\nreturn True",
        (NAMESPACES, LANDLOCK, SECCOMP)),
    Attack("list the descriptors of another kernel", "return [os.readlink(p) for p in glob.glob(f'/proc/{W[\"victim\"]}/fd/*')]", (NAMESPACES, LANDLOCK)),
    Attack("signal the gateway", "os.kill(W['gateway'], signal.SIGCONT)\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("signal another kernel", "os.kill(W['victim'], signal.SIGCONT)\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("signal another kernel by a pidfd",
        "p = os.pidfd_open(W['victim'])\nsignal.pidfd_send_signal(p, signal.SIGCONT)\nreturn True", (NAMESPACES, LANDLOCK)),
    Attack("signal a group of processes", "os.killpg(os.getpgid(W['victim']), signal.SIGCONT)\nreturn True",
        (NAMESPACES, LANDLOCK)),
    Attack("compare descriptors with another process",
        "call('kcmp', os.getpid(), W['victim'], 0, 0, 0)\nreturn True", (NAMESPACES, LANDLOCK, SECCOMP)),
    Attack("slow the gateway down", "v = os.getpriority(os.PRIO_PROCESS, W['gateway'])\n"
        "os.setpriority(os.PRIO_PROCESS, W['gateway'], v)\nreturn True", (NAMESPACES, SECCOMP), by_capabilities=True),
    Attack("limit the gateway", "v = resource.prlimit(W['gateway'], resource.RLIMIT_CPU)\n"
        "resource.prlimit(W['gateway'], resource.RLIMIT_CPU, v)\nreturn True", (NAMESPACES, SECCOMP)),
    Attack("move the gateway to one processor", "v = os.sched_getaffinity(W['gateway'])\n"
        "os.sched_setaffinity(W['gateway'], v)\nreturn True", (NAMESPACES, SECCOMP), by_capabilities=True),
    Attack("hold capabilities", "return int(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')), 16)",
        (CAPABILITIES,), as_root=True),
    Attack("get capabilities by a user namespace", "return in_child(lambda: call('unshare', 0x10000000) == 0)", (SECCOMP,)),
    Attack("get capabilities by a cloned user namespace",
        "pid = ctypes.PyDLL(None).syscall(N['clone'], 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nreturn pid > 0 and os.waitpid(pid, 0)", (SECCOMP,)),
    Attack("join the namespaces of a process outside",
        "d = os.open(f\"/proc/{W['me']}/ns/uts\", os.O_RDONLY)\nreturn in_child(lambda: call('setns', d, 0) == 0)",
        (NAMESPACES, CAPABILITIES, LANDLOCK, SECCOMP), as_root=True),
    Attack("mount something", "return in_child(lambda: call('mount', b'x', b'/mnt', b'tmpfs', 0, None) == 0 and "
        "call('umount2', b'/mnt', 0) == 0)", (NAMESPACES, CAPABILITIES, LANDLOCK, SECCOMP), as_root=True),
    Attack("change the root", "return in_child(lambda: os.chroot('.') is None)", (CAPABILITIES, SECCOMP), as_root=True),
    Attack("become another user", "return in_child(lambda: os.setuid(1) is None)", (NAMESPACES, CAPABILITIES), as_root=True),
    Attack("gain privileges by a program",
        "return 'NoNewPrivs:\\t0' in open('/proc/self/status').read()", (CAPABILITIES, LANDLOCK, SECCOMP)),
)  # fmt: skip

SOCKETS = (
    Attack("connect to the gateway's socket", "s = socket.socket(socket.AF_UNIX)\ns.connect(W['socket'])\nreturn True",
        (NAMESPACES, SECCOMP)),
    Attack("connect to another kernel's channel",
        "s = socket.socket(socket.AF_UNIX)\ns.connect(W['channel'])\nreturn True", (NAMESPACES, SECCOMP)),
    Attack("read another kernel's connection file", "return open(W['connection']).read()", (NAMESPACES, LANDLOCK)),
    Attack("connect to its own channel", "s = socket.socket(socket.AF_UNIX)\ns.connect(W['own_channel'])\nreturn True", (SECCOMP,)),
    Attack("connect to an abstract socket", "s = socket.socket(socket.AF_UNIX)\ns.connect('\\0' + W['word'])\nreturn True",
        (NAMESPACES, LANDLOCK, SECCOMP)),
    Attack("connect to a port", "s = socket.create_connection(('127.0.0.1', W['port']), 5)\nreturn True",
        (NAMESPACES, LANDLOCK, SECCOMP)),
    Attack("listen on a port", "s = socket.socket()\ns.bind(('127.0.0.1', 0)); s.listen()\nreturn True", (LANDLOCK, SECCOMP)),
    Attack("send a datagram to a port",
        "return socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', W['port']))", (NAMESPACES, SECCOMP)),
    Attack("open an IPv6 socket", "socket.socket(socket.AF_INET6).close()\nreturn True", (SECCOMP,), optional=True),
    Attack("open a multipath socket", "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()\nreturn True", (SECCOMP,), optional=True),
    Attack("open a netlink socket", "socket.socket(16, socket.SOCK_RAW).close()\nreturn True", (SECCOMP,)),
    Attack("open a socket of the virtual machine", "socket.socket(40, socket.SOCK_STREAM).close()\nreturn True", (SECCOMP,), optional=True),
    Attack("open a socket of the kernel's ciphers", "socket.socket(38, socket.SOCK_SEQPACKET).close()\nreturn True", (SECCOMP,), optional=True),
    Attack("open a raw socket", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()\nreturn True",
        (NAMESPACES, CAPABILITIES, SECCOMP), as_root=True),
    Attack("open a packet socket", "socket.socket(17, socket.SOCK_RAW).close()\nreturn True",
        (NAMESPACES, CAPABILITIES, SECCOMP), as_root=True),
    Attack("send a datagram to a path", "s, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "return s.sendto(b'x', W['datagrams'])", (NAMESPACES, SECCOMP)),
    Attack("connect past the filter by io_uring",
        "b = ctypes.create_string_buffer(120)\nos.close(call('io_uring_setup', 4, b))\nreturn True", (SECCOMP,), optional=True),
    Attack("see the paths of all sockets", "return W['socket'] in open('/proc/net/unix').read()", (NAMESPACES,)),
    Attack("write to another terminal", "return os.write(os.open(W['terminal'], os.O_WRONLY | os.O_NOCTTY), b'x')",
        (NAMESPACES, LANDLOCK)),
    Attack("type into another terminal",
        "return in_child(lambda: [os.setsid(), fcntl.ioctl(d := os.open(W['terminal'], os.O_RDWR), 0x540E, 0), "
        "fcntl.ioctl(d, 0x5412, b'x')])", (NAMESPACES, LANDLOCK, SECCOMP), as_root=True),
    Attack("use 32-bit calls past the filter",
        "code = b'\\x53\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\x5b\\xc3'  # getpid by int 0x80\n"
        "m = mmap.mmap(-1, 4096, prot=7); m.write(code)\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "return in_child(lambda: f() > 0)", (SECCOMP,), optional=True),
)  # fmt: skip

MEMORY_WITHOUT_FILES = (
    Attack("attach shared memory of another process",
        "libc.shmat.restype = ctypes.c_void_p\nat = libc.shmat(W['shared'], None, 0o10000)\n"
        "return at != ctypes.c_void_p(-1).value and has_secret(ctypes.string_at(at, 40))", (NAMESPACES, SECCOMP)),
    Attack("make shared memory", "i = call('shmget', 0, 4096, 0o1600)\nlibc.shmctl(i, 0, None)\nreturn True", (SECCOMP,)),
    Attack("make a message queue",
        "d = call('mq_open', W['word'].encode(), 0o102, 0o600, None)\nos.close(d); call('mq_unlink', W['word'].encode())\nreturn True",
        (SECCOMP,), optional=True),
    Attack("keep a key in a keyring", "return call('add_key', b'user', W['word'].encode(), b'x', 1, -3) > 0", (SECCOMP,), optional=True),
    Attack("load a program into the system's kernel", "return in_child(lambda: bpf())" .replace("bpf()", "call('bpf', 0, struct.pack('IIII', 2, 4, 4, 1) + bytes(104), 120) > 0"),
        (NAMESPACES, CAPABILITIES, SECCOMP), as_root=True),
    Attack("measure other processes", "os.close(call('perf_event_open', struct.pack('IIQQQQQ', 1, 112, 0, 0, 0, 0, 0x60) + bytes(64), 0, -1, -1, 0))\nreturn True",
        (SECCOMP,), optional=True),
    Attack("hold a page fault of the system's kernel", "os.close(call('userfaultfd', 1))\nreturn True", (SECCOMP,), optional=True),
)  # fmt: skip

RESOURCES = (
    Attack("write a file without end", "f = open('large', 'wb')\nf.seek(W['file_size'] + 10)\nf.write(b'x'); f.flush()\nf.close(); os.unlink('large')\nreturn True",
        (LIMITS,)),
    Attack("open files without end", "fs = [open('/dev/null') for _ in range(3000)]\nreturn len(fs) == 3000", (LIMITS,)),
    Attack("take memory without end",
        "m = mmap.mmap(-1, W['memory'] + (1 << 30), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nm.close()\nreturn True", (LIMITS,)),
    Attack("have a core file written",
        "resource.setrlimit(resource.RLIMIT_CORE, (1, 1))\nreturn True", (LIMITS,), naked=False),
    Attack("fork without end",
        "born = []\ntry:\n    while len(born) < W['processes'] + 64:\n        pid = os.fork()\n"
        "        if pid == 0: signal.pause(); os._exit(0)\n        born.append(pid)\nexcept OSError: pass\n"
        "finally:\n    for pid in born: os.kill(pid, 9)\n    for pid in born: os.waitpid(pid, 0)\n"
        "return len(born) >= W['processes'] + 64", (CGROUPS, LIMITS), naked=False),
)  # fmt: skip

ATTACKS = (*FILES, *PROCESSES, *SOCKETS, *MEMORY_WITHOUT_FILES, *RESOURCES)

# What the gateway alone stops: `ask` sends one request over a socket that was handed in, and returns the status.
ASK = """
import kaianalytics, kaianalytics.client.connection as kc
kai = kaianalytics.connect()
def sockets():
    return kai._door._backend._source()
def ask(method, path, token, body=b"", before=b""):
    with sockets() as s:
        head = f"{method} /v1/{path} HTTP/1.1\\r\\nHost: g\\r\\nAuthorization: Bearer {token}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
        s.sendall(before + head.encode() + body)
        s.settimeout(20)
        said = s.recv(65536)
        return said.startswith(b"HTTP/1.1 200") and said
own = kai._door._token
"""
SQL = 'b\'{"sql": "SELECT COUNT(*) AS n FROM sessions"}\''

TOKEN_ATTACKS = {
    "use a token that was read out of another kernel of this user": f"return ask('POST', 'sql', W['other_token'], {SQL})",
    "use another user's token": f"return ask('POST', 'sql', W['kaitos_token'], {SQL})",
    "use an earlier token of this kernel": f"return ask('POST', 'sql', W['earlier_token'], {SQL})",
    "open a session with a stolen identity token": (
        "return ask('POST', 'sessions', W['identity_token'], b'{\"purpose\": \"ad-targeting\", \"kernel\": \"k\"}')"
    ),
    "submit a notebook with a stolen identity token": "return ask('GET', 'reviews', W['identity_token'])",
    "use an identity token as a purpose token": f"return ask('POST', 'sql', W['identity_token'], {SQL})",
    "use the own token as an identity token": "return ask('GET', 'reviews', own)",
    "forge a token without a signature": (
        'import base64, json\nhead = base64.urlsafe_b64encode(b\'{"alg":"none","typ":"JWT"}\').rstrip(b\'=\').decode()\n'
        f"return ask('POST', 'sql', head + '.' + own.split('.')[1] + '.', {SQL})"
    ),
    "change the purpose in the own token": (
        "import base64, json\nhead, body, sign = own.split('.')\nclaims = json.loads(base64.urlsafe_b64decode(body + '=='))\n"
        "claims['purpose'] = 'ad-targeting'\nbody = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b'=').decode()\n"
        f"return ask('POST', 'sql', '.'.join((head, body, sign)), {SQL})"
    ),
    "bind a connection once more": (f"return ask('POST', 'sql', W['other_token'], {SQL}, W['other_binding'].encode())"),
    "slip another token's request behind its own": (
        "with sockets() as s:\n"
        "    s.sendall(b''.join(f'GET /v1/datasets HTTP/1.1\\r\\nHost: g\\r\\nAuthorization: Bearer {t}\\r\\n\\r\\n'.encode()\n"
        "              for t in (own, W['other_token'])))\n"
        "    s.settimeout(20)\n    said = b''\n    while said.count(b'HTTP/1.1 ') < 2: said += s.recv(65536)\n"
        "    return said.count(b'HTTP/1.1 200') == 2"
    ),
    "name another purpose in a request": (
        'with sockets() as s:\n    body = b\'{"sql": "SELECT COUNT(*) FROM campaign_contacts", "purpose": "campaign-analysis"}\'\n'
        "    return ask('POST', 'sql', own, body)"
    ),
    "find a token in what other processes show": (
        "return [p for p in glob.glob('/proc/[0-9]*/cmdline') if W['other_token'] in open(p, errors='replace').read()]"
    ),
    "find the own token in the environment or a file": (
        "shown = json.dumps(dict(os.environ)) + open('/proc/self/environ').read() + open('/proc/self/cmdline').read()\n"
        "files = [p for p in Path('.').rglob('*') if p.is_file() and own.encode() in p.read_bytes()]\n"
        "return own in shown or files"
    ),
    "have the handover connect elsewhere": (
        "h = kai._door._backend._source._handover\nreturn False if h.getpeername() in ('', b'') else h.getpeername()"
    ),
}
