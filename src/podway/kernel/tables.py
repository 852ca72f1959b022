"""nftables: whole tables in one transaction each, through libnftables (libnftables(3)).

A table is added (so that deleting it cannot fail), deleted and written anew, all in one commit:
packets see the old rules or the new ones. What the kernel lists afterwards is remembered; as long
as it lists the same, nobody has touched the table. At start nothing is remembered, and the table
counts as changed, which costs one commit.
"""

import ctypes
import errno

from podway.kernel.protocol import KernelError
from podway.model.kernel import NftTable

_LIBRARY = "libnftables.so.1"
_STATELESS = 1 << 1
_UNKNOWN = "(written by an earlier process, or changed by somebody)"


class Tables:
    """The nftables tables of one namespace: that in which the object is made."""

    def __init__(self) -> None:
        self._nft = _Nft()
        self._written: dict[tuple[str, str], tuple[NftTable, str]] = {}

    def write(self, table: NftTable) -> None:
        """Make *table* what the kernel has under its name, in one transaction.

        Raises:
            KernelError: nftables refused; its words are in the message.
        """
        name = f"{table.family} {table.name}"
        body = "".join(f"\t{line}\n" for line in table.body.splitlines())
        text = f"add table {name}\ndelete table {name}\ntable {name} {{\n{body}}}\n"
        self._nft.run(text, f"write nftables table {name}")
        self._written[table.family, table.name] = (table, self._list(name))

    def delete(self, family: str, name: str) -> None:
        """Remove a table; gone already is fine."""
        self._written.pop((family, name), None)
        text = f"add table {family} {name}\ndelete table {family} {name}\n"
        self._nft.run(text, f"delete nftables table {family} {name}")

    def read(self, family: str, name: str) -> NftTable | None:
        """Return the table as it was written if it still is so, else another value; None: none."""
        listing = self._nft.try_run(f"list table {family} {name}")
        if listing is None:
            return None
        table, known = self._written.get((family, name), (None, ""))
        return table if table is not None and listing == known else changed(family, name)

    def close(self) -> None:
        """Free the library's context."""
        self._nft.close()

    def _list(self, name: str) -> str:
        return self._nft.try_run(f"list table {name}") or ""


def changed(family: str, name: str) -> NftTable:
    """Return what stands for a table that is not as it was written."""
    return NftTable(family, name, _UNKNOWN)


class _Nft:
    """One context of libnftables."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            reason = f"{error}: install Debian's libnftables1"
            raise KernelError(errno.ENOENT, f"load {_LIBRARY}", reason) from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for function in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
            getattr(library, function).argtypes = [ctypes.c_void_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, function).argtypes = [ctypes.c_void_p]
            getattr(library, function).restype = ctypes.c_char_p
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise KernelError(errno.ENOMEM, "open nftables", "the library gives no context")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_output_set_flags(self._context, _STATELESS)

    def run(self, text: str, operation: str) -> str:
        """Run *text* as one transaction; return what it printed."""
        failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        words: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            reason = " ".join(words.decode(errors="replace").split())
            raise KernelError(errno.EINVAL, operation, reason)
        return output.decode(errors="replace")

    def try_run(self, text: str) -> str | None:
        """Run *text*; return what it printed, None when it failed (there is no such table)."""
        try:
            return self.run(text, text)
        except KernelError:
            return None

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)
        self._context = None
