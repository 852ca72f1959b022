"""A program of a lab as a value: what to start, where, and where its files lie. Pure."""

from pathlib import Path

from msgspec import Struct


class Process(Struct, frozen=True, kw_only=True):
    """A program of the lab. All of them tell when they are ready, as systemd has it.

    Attributes:
        member: node that it runs on, or the hub.
        role: what it is there: "agent", "hub", "etcd", "kube-apiserver".
        namespace: name of the namespace in which it runs.
        arguments: what follows the program on its command line.
        directory: where its log, its pid file and its own files lie.
        program: its absolute path; "": ``podway``.
    """

    member: str
    role: str
    namespace: str
    arguments: tuple[str, ...]
    directory: Path
    program: str = ""

    @property
    def title(self) -> str:
        """What people call it: ``hub``, ``agent of n1``."""
        return self.role if self.role == self.member else f"{self.role} of {self.member}"

    @property
    def log(self) -> Path:
        """Where standard output and standard error go."""
        return self.directory / f"{self.role}.log"

    @property
    def pid_file(self) -> Path:
        """Where the process is written down."""
        return self.directory / f"{self.role}.pid"
