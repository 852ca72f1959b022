"""Calls of plugins without the start of an interpreter: a thousand in a few seconds.

A process in the host's namespace of a test has all plugins loaded and forks for each call; the
child is the plugin from its ``main()`` on, with an environment, standard input and output of its
own. What a call costs is what the plugin does. For tables and fuzzing; that the installed
executables work is seen elsewhere, with a few calls. ::

    with ForkServer(runtime.host) as server:
        answer = server.call("bridge", {"CNI_COMMAND": "ADD", ...}, b"{...}")

/run and /var/lib are its own too, empty but for the namespaces' names: where a configuration lets a
plugin keep files in its usual directory, they go with the server, and no daemon of the machine's is
asked.

The other end is this file as a program: a request is a line of JSON, and so is an answer.
"""

import base64
import contextlib
import importlib
import json
import os
import posix
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from podway.plugins.registry import PLUGINS

_SOURCES = Path(__file__).parents[3] / "src" / "podway" / "plugins"
# Mounts that end with the process, untold to /run/mount (-n), which is gone with the first of them.
# The path of a namespace that is made later leads there as well, since mounts come on (slave).
_OWN_DIRECTORIES = """
mount -n -t tmpfs -o mode=755 run /mnt
mkdir /mnt/netns
mount -n --rbind /run/netns /mnt/netns
mount -n --move /mnt /run
mount -n -t tmpfs -o mode=755 state /var/lib
exec "$@"
"""
# What only the command line needs.
_INSTALLERS = {"bundles", "conflists", "executables", "install"}


@dataclass(frozen=True)
class Answer:
    """What a plugin printed, and how its process ended.

    Attributes:
        exit_code: of the process; negative, the signal that ended it.
        stdout: as it is.
        stderr: as text.
    """

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """What was printed, empty for nothing."""
        found: dict[str, Any] = json.loads(self.stdout) if self.stdout else {}
        return found

    @property
    def code(self) -> int:
        """The error's number, 0 for success; a process that ended in any other way is no answer."""
        if self.exit_code == 0:
            return 0
        assert self.exit_code == 1, self
        number: int = self.document["code"]
        assert isinstance(number, int), self
        assert self.document["msg"], self
        return number


class ForkServer:
    """The process that forks, from the tests' side.

    Args:
        netns: path of the namespace that plugins take for the host's.
    """

    def __init__(self, netns: str) -> None:
        self._process = subprocess.Popen(
            [
                "unshare", "--mount", "--propagation=slave", "sh", "-ec", _OWN_DIRECTORIES, "sh",
                "nsenter", f"--net={netns}", sys.executable, __file__,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_SOURCES.parents[1])},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def call(self, plugin: str, variables: dict[str, str | bytes], stdin: bytes | None) -> Answer:
        """Call a plugin; return when its process has ended.

        Args:
            plugin: name in the registry.
            variables: all that the environment has of CNI.
            stdin: what it reads; None for a descriptor that is closed.
        """
        request = {
            "plugin": plugin,
            "variables": [[name, _text(_bytes(value))] for name, value in variables.items()],
            "stdin": None if stdin is None else _text(stdin),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Answer(
            answer["exit_code"],
            base64.b64decode(answer["stdout"]),
            base64.b64decode(answer["stderr"]).decode(errors="replace"),
        )


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer every request until there are no more."""
    for path in sorted(_SOURCES.glob("[a-z]*.py")):
        if path.stem not in _INSTALLERS:
            importlib.import_module(f"podway.plugins.{path.stem}")
    modules = {plugin.name: plugin.module for plugin in PLUGINS}
    for line in requests:
        request = json.loads(line)
        files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        child = os.fork()
        if not child:
            _be_plugin(modules[request["plugin"]], request, files)
        _, status = os.waitpid(child, 0)
        answer = {
            "exit_code": os.waitstatus_to_exitcode(status),
            "stdout": _text(_content(files[1])),
            "stderr": _text(_content(files[2])),
        }
        for file in files:
            os.close(file)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _be_plugin(module: str, request: dict[str, Any], files: list[int]) -> NoReturn:
    """Do in a child what an executable does."""
    try:
        stdin = request["stdin"]
        os.write(files[0], base64.b64decode(stdin or ""))
        os.lseek(files[0], 0, os.SEEK_SET)
        for target, file in enumerate(files):
            os.dup2(file, target)
        os.closerange(3, 64)
        if stdin is None:
            os.close(0)
        for name in [name for name in posix.environ if name.startswith(b"CNI_")]:
            del posix.environ[name]
        for name, value in request["variables"]:
            posix.environ[name.encode()] = base64.b64decode(value)
        sys.argv[:] = [module]
        importlib.import_module(module).main()
    except BaseException:  # noqa: BLE001 - the server must not go on in two processes
        with contextlib.suppress(OSError):
            os.write(2, traceback.format_exc().encode())
    os._exit(70)


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
