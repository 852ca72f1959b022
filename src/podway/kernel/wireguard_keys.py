"""This node's WireGuard key: made once, kept in a file that only root may read.

In: a path. Out: the public key, which everybody may know, and the private one for the kernel. A key
that stays is what lets a device, its peers and their packets outlive the agent.

X25519 is computed here, in the open (RFC 7748, section 5): once per start for one's own key, where
nobody can measure the time that it takes. A library for that alone would be the largest dependency
of the agent, and a program (`wg pubkey`) one more package on every node.
"""

import os
from base64 import b64decode, b64encode
from functools import lru_cache
from pathlib import Path

from podway.errors import ConfigError

KEY_BYTES = 32
_P = 2**255 - 19
_A24 = 121665
_BASE_POINT = 9


class WireguardKey:
    """The key in the file *path*, made when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def private(self) -> bytes:
        """Return the private key, 32 bytes.

        Raises:
            ConfigError: the file cannot be read or written, others may read it, or it is no key.
        """
        try:
            return self._read()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._refused(f"cannot be read: {error.strerror}") from error
        try:
            return self._make()
        except OSError as error:
            raise self._refused(f"cannot be written: {error.strerror}") from error

    def public(self) -> str:
        """Return the public key in base64. Raises as `private`."""
        return public_key(self.private())

    def _read(self) -> bytes:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            if os.fstat(fd).st_mode & 0o077:
                raise self._refused("others may read it: chmod 0400, or remove it for a new key")
            text = file.read(4096)
        try:
            key = b64decode(text.strip(), validate=True)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise self._refused("holds no key: 32 bytes in base64, as `wg genkey` prints them")
        return key

    def _make(self) -> bytes:
        """Write a new key, whole or not at all; one that another process wrote meanwhile wins."""
        key = clamped(os.urandom(KEY_BYTES))
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(b64encode(key) + b"\n")
                file.flush()
                os.fsync(fd)
            os.link(draft, self.path)
        except FileExistsError:
            return self._read()
        finally:
            draft.unlink()
        return key

    def _refused(self, rule: str) -> ConfigError:
        return ConfigError("WireGuard key file", str(self.path), rule)


@lru_cache(maxsize=4)
def public_key(private: bytes) -> str:
    """Return the public key of *private* (32 bytes) in base64."""
    return b64encode(x25519(private, _BASE_POINT.to_bytes(KEY_BYTES, "little"))).decode()


def clamped(key: bytes) -> bytes:
    """Return *key* with the bits set and cleared that X25519 ignores (decodeScalar25519)."""
    return bytes((key[0] & 248, *key[1:31], key[31] & 127 | 64))


def x25519(scalar: bytes, point: bytes) -> bytes:
    """Return *scalar* times *point*, all 32 bytes, little-endian (RFC 7748, section 5)."""
    k = int.from_bytes(clamped(scalar), "little")
    x1 = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        x2, z2, x3, z3 = _ladder_step(x1, x2, z2, x3, z3)
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(KEY_BYTES, "little")


def _ladder_step(x1: int, x2: int, z2: int, x3: int, z3: int) -> tuple[int, int, int, int]:
    """Return one step of the Montgomery ladder; names as in the RFC."""
    a, b = x2 + z2, x2 - z2
    aa, bb = a * a, b * b
    e = aa - bb
    da, cb = (x3 - z3) * a, (x3 + z3) * b
    return (
        aa * bb % _P,
        e * (aa + _A24 * e) % _P,
        (da + cb) ** 2 % _P,
        x1 * (da - cb) ** 2 % _P,
    )
