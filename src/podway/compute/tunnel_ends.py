"""Whether what a node publishes of its end of a tunnel fits the backend that the network has.

In: the backend, and what a claim says for one family. Out: what is wrong, in words; "" for nothing.
Peers write it into their kernels as it is (a MAC, a key, a port), so it is looked at once, where it
is claimed. Pure.
"""

from podway.model.backend_keys import is_wireguard_key
from podway.model.networks import BackendConfig, VxlanConfig, WireguardConfig
from podway.model.nodes import BackendData, VtepData, WireguardData, Wish

_HEX = frozenset("0123456789abcdef")


def describe_unfit_end(backend: BackendConfig, wish: Wish) -> str:
    """Return why peers could not use what *wish* publishes; "" when they can."""
    match backend:
        case VxlanConfig():
            return _unfit_vtep(backend, wish)
        case WireguardConfig():
            return _unfit_wireguard(wish)
        case _:
            return ""


def _unfit_vtep(backend: VxlanConfig, wish: Wish) -> str:
    data = wish.data
    if not isinstance(data, VtepData) or data.vni != backend.vni:
        return f"{_vni(data)} for {wish.family.label}; the network has VNI {backend.vni}"
    pairs = data.mac.split(":")
    if len(pairs) != 6 or not all(len(pair) == 2 and _HEX.issuperset(pair) for pair in pairs):
        return f"MAC {data.mac!r}: must be six lower-case hex bytes"
    if int(pairs[0], 16) & 1 or set(pairs) == {"00"}:
        return f"MAC {data.mac}: must be the address of one interface"
    return ""


def _vni(data: BackendData | None) -> str:
    return f"VNI {data.vni}" if isinstance(data, VtepData) else "no tunnel end point"


def _unfit_wireguard(wish: Wish) -> str:
    data = wish.data
    if not isinstance(data, WireguardData) or not is_wireguard_key(data.public_key):
        return f"no WireGuard key for {wish.family.label}: must be 32 bytes in base64"
    if not 0 <= data.port <= 65535:
        return f"UDP port {data.port} for {wish.family.label}: must be 0 to 65535"
    return ""
