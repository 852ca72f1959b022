"""Clients that come over TLS, and the files by which they and a hub prove who they are."""

from pathlib import Path

from msgspec.structs import replace

from hub.hub_process import QUICK, RunningHub
from podway.store.engines import open_hub
from podway.store.hub import HubStore
from podway.store.tls import TlsFiles


def files(pem: Path, name: str, *, ca: str = "ours", cert: str = "ours") -> TlsFiles:
    """Return files of *name* in the fixture `pem`: who is trusted, and who has signed."""
    return replace(files_in(pem / cert, name), ca=pem / ca / "ca.crt")


def files_in(directory: Path, name: str) -> TlsFiles:
    """Return the files of *name* that ``podway hub certs`` has put into *directory*."""
    return TlsFiles(
        ca=directory / "ca.crt", cert=directory / f"{name}.crt", key=directory / f"{name}.key"
    )


def open_tls(hub: RunningHub, with_files: TlsFiles) -> HubStore:
    """Return a client; the caller closes it."""
    return open_hub(hub.tcp_url, tls=with_files, options=QUICK)
