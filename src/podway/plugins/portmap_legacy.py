"""Published ports that only the legacy iptables sees.

In: what is published, or whose is valid. Out: the rules are gone. Called by `portmap_removal` where
the legacy kind has a table nat.
"""

from podway.plugins.iptables_kinds import legacy_families
from podway.plugins.iptables_lines import change_legacy, delete_own_chains, read_legacy
from podway.plugins.iptables_names import quote
from podway.plugins.portmap_chains import TABLE, chain_name, comment_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from podway.plugins.portmap_conf import Publication


def delete_rules(wanted: "Publication") -> None:
    """Take away the rules of an attachment.

    Raises:
        CniError: iptables fails.
    """
    for family in legacy_families(TABLE):
        saved = read_legacy(family, TABLE)
        change_legacy(family, TABLE, compute_deletions(saved, wanted, family))


def compute_deletions(saved: "Iterable[str]", wanted: "Publication", family: int) -> list[str]:
    """Return the lines that take the rules of an attachment out of *saved*; see `find`."""
    saved = list(saved)
    own, old = (chain_name(wanted.network, wanted.container_id, kind) for kind in ("DN", "SN"))
    address = wanted.addresses.get(family, "").partition("/")[0]
    targets = [line for line in saved if line.startswith(f"-A {own} ") and " -j DNAT " in line]
    shown = f" --to-destination [{address}]:" if ":" in address else f" {address}:"
    mine = [line for line in targets if shown in line]
    if address and len(mine) < len(targets):
        return [
            *(f"-D{line.removeprefix('-A')}" for line in mine),
            *delete_own_chains(saved, [old]),
        ]
    return delete_own_chains(saved, [own, old])


def delete_garbage(network: str, valid: "Iterable[str]") -> None:
    """Take away the rules of the network's containers that are not *valid*.

    Raises:
        CniError: iptables fails.
    """
    kept = {chain_name(network, container) for container in valid}
    start = quote(comment_start(network))[:-1]
    for family in legacy_families(TABLE):
        saved = read_legacy(family, TABLE)
        chains = {line.rpartition(" -j ")[2] for line in saved if start in line} - kept
        change_legacy(family, TABLE, delete_own_chains(saved, sorted(chains)))
