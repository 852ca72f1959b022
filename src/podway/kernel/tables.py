"""nftables: whole tables in one transaction each, through libnftables (libnftables(3)).

A table is added (so that deleting it cannot fail), deleted and written anew, all in one commit:
packets see the old rules or the new ones. What the kernel lists afterwards is remembered; as long
as it lists the same, nobody has touched the table. At start nothing is remembered, and the table
counts as changed, which costs one commit.

Which tables there are is asked by netlink itself: the library is loaded when one of them matters.
A commit that deletes rules waits for packets that still see them, some 15 ms.
"""

import ctypes
import errno
from collections.abc import Collection, Iterator

from podway.kernel.errors import worded
from podway.kernel.protocol import KernelError
from podway.model.instances import TABLE_NAME
from podway.model.kernel import Key, NftTable
from podway.netlink import NetlinkError, NetlinkSocket, Request
from podway.netlink.constants import (
    NETLINK_NETFILTER,
    NFNL_SUBSYS_NFTABLES,
    NFT_MSG_NEWTABLE,
    NLM_F_DUMP,
)
from podway.netlink.nftables import NFT_MESSAGES

_LIBRARY = "libnftables.so.1"
# enum nft_ctx_output flags of libnftables.h: no counters and no ages in what is listed.
_STATELESS = 1 << 2
_MSG_GETTABLE = 1
_UNKNOWN = "(written by an earlier process, or changed by somebody)"
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


class Tables:
    """The nftables tables of one namespace: that in which the calling thread is.

    Args:
        name: of ours.
    """

    def __init__(self, name: str = TABLE_NAME) -> None:
        self._name = name
        self._netlink = NetlinkSocket(NETLINK_NETFILTER)
        self._library: _Nft | None = None
        self._written: dict[Key, tuple[NftTable, str]] = {}

    def write(self, table: NftTable) -> None:
        """Make *table* what the kernel has under its name, in one transaction.

        Raises:
            KernelError: nftables refused, and nothing is changed; its words are in the message.
        """
        name = f"{table.family} {table.name}"
        body = "".join(f"\t{line}\n" for line in table.body.splitlines())
        text = f"add table {name}\ndelete table {name}\ntable {name} {{\n{body}}}\n"
        self._nft().run(text, f"write nftables table {name}")
        self._written[table.key] = (table, self._list(name))

    def delete(self, family: str, name: str) -> None:
        """Remove a table; gone already is fine.

        Raises:
            KernelError: nftables refused.
        """
        self._written.pop(NftTable(family, name, "").key, None)
        text = f"add table {family} {name}\ndelete table {family} {name}\n"
        self._nft().run(text, f"delete nftables table {family} {name}")

    def read(self, wanted: Collection[Key]) -> Iterator[NftTable]:
        """Yield our tables and those that are *wanted*: as written if still so, else `changed`.

        Raises:
            KernelError: they cannot be listed.
        """
        for key in self._names():
            family, name = str(key.parts[0]), str(key.parts[1])
            if name == self._name or key in wanted:
                table, listing = self._written.get(key, (None, ""))
                is_ours = table is not None and self._list(f"{family} {name}") == listing
                yield table if table is not None and is_ours else changed(family, name)

    def close(self) -> None:
        """Free what was opened."""
        self._netlink.close()
        if self._library is not None:
            self._library.close()

    def _names(self) -> list[Key]:
        """Return the keys of all tables; none where the kernel has no nftables."""
        _, schema = NFT_MESSAGES[NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE]
        number = NFNL_SUBSYS_NFTABLES << 8 | _MSG_GETTABLE
        request = Request("list", schema, number, NLM_F_DUMP, {})
        with worded("list nftables tables"):
            try:
                found = self._netlink.dump(request)
            except NetlinkError as error:
                if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
                    return []
                raise
        return [
            NftTable(FAMILIES[item["family"]], item["table"], "").key
            for item in found
            if item["family"] in FAMILIES
        ]

    def _list(self, name: str) -> str:
        """Return the rules of a table as nft prints them, without counters; "" once it is gone."""
        try:
            return self._nft().run(f"list table {name}", f"list nftables table {name}")
        except KernelError as error:
            if error.errno == errno.EPERM:
                raise
            return ""

    def _nft(self) -> "_Nft":
        if self._library is None:
            self._library = _Nft()
        return self._library


def changed(family: str, name: str) -> NftTable:
    """Return what stands for a table that is not as it was written."""
    return NftTable(family, name, _UNKNOWN)


class _Nft:
    """One context of libnftables, with its own socket in the namespace of the calling thread."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(_LIBRARY, use_errno=True)
        except OSError as error:
            reason = f"{error}; install libnftables (Debian: apt-get install libnftables1)"
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
        """Run *text* as one transaction; return what it printed.

        Raises:
            KernelError: EINVAL when the library does not understand *text*, else what the kernel
                said; with the library's words.
        """
        ctypes.set_errno(0)
        failed = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
        number = ctypes.get_errno()
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        words: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            reason = " ".join(words.decode(errors="replace").split())
            # EAGAIN is the end of the library's own reading: the kernel was not even asked.
            is_known = number not in {0, errno.EAGAIN}
            raise KernelError(number if is_known else errno.EINVAL, operation, reason)
        return output.decode(errors="replace")

    def close(self) -> None:
        """Free the context; may be called twice."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
