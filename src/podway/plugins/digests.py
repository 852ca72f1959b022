"""SHA-512 by the interpreter's own C module; `hashlib` costs 2.7 ms of import.

The reference plugins name chains and devices by the first digits of such digests.
"""

from _sha512 import sha512  # type: ignore[import-not-found]  # not in typeshed


def sha512_hex(text: str) -> str:
    """Return the digest of *text* as 128 hexadecimal digits."""
    digits: str = sha512(text.encode()).hexdigest()
    return digits
