"""Starts the relay's process, from the agent's side."""

import errno
import json
import subprocess
import sys

from podway.udp.control import RelayConfig

_START_S = 10.0


def start_relay(path: str, config: RelayConfig) -> None:
    """Start a relay in the calling thread's namespace; when this returns it carries packets.

    Args:
        path: where its control socket shall be; the directory is there.
        config: what it is told.

    Raises:
        OSError: it does not start: ENODEV without the device, EADDRINUSE, EADDRNOTAVAIL, ...
    """
    command = (sys.executable, "-m", "podway.udp.main", path, json.dumps(config._asdict()))
    try:
        done = subprocess.run(  # it leaves the relay behind and ends
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_START_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(errno.ETIMEDOUT, f"the relay does not start in {_START_S} s") from error
    if done.returncode:
        raise _failure(done.stdout, done.stderr)


def _failure(output: bytes, errors: bytes) -> OSError:
    try:
        said = json.loads(output)
        return OSError(int(said["errno"]), str(said["reason"]))
    except (ValueError, KeyError, TypeError):
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        return OSError(errno.EIO, last or "it says nothing")
