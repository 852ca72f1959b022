"""How tests call the ``podway`` plugin, and what of its answers is always the same."""

import json
import subprocess
from typing import Final, Protocol

OWN_NETNS: Final = "/proc/self/ns/net"


class Call(Protocol):
    """What the fixture `call` gives."""

    def __call__(
        self,
        command: str | None,
        *,
        config: dict[str, object] | bytes | None = None,
        variables: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the plugin; *config* changes keys of the usual one, or replaces it as bytes."""


def code_of(done: subprocess.CompletedProcess[bytes]) -> int:
    """Return the error's number; the rest of the answer must be as the specification wants it."""
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert done.stderr == b""
    assert document.keys() - {"details"} == {"cniVersion", "code", "msg"}
    assert document["msg"]
    return int(document["code"])
