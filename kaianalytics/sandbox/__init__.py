"""Confinement by the operating system's kernel, for kernels of notebooks and for SQL workers.

    confinement   the value: what a process may read, write, execute and open sockets in, and by which layers
    confine       applies the value, layer by layer, to this process; what could not be applied is a ConfinementFault
    namespaces, capabilities, landlock, seccomp, limits, cgroups      one layer each
    libc          the system calls that Python has no function for
    probe         confines a child with this code and tries what must not work: what `kai doctor` shows

Standard library alone: the launcher runs this before any library of the analyst's is found.
"""
