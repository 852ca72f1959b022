"""The program ``nft``, for what a user wrote in its language.

In: lines. Out: they are carried out together, or not at all. Whatever has not been written by a
user goes over netlink (`podway.netlink.nft_transactions`).
"""

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError
from podway.plugins.programs import find_program, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def run_nft(lines: "Iterable[str]") -> None:
    """Carry out *lines* in one transaction.

    Raises:
        CniError: UNSUPPORTED_FIELD, there is no such program; INVALID_CONFIG, it refuses.
    """
    path = find_program("nft")
    if path is None:
        raise CniError(UNSUPPORTED_FIELD, "conditions need the program nft: install nftables")
    outcome = run_program([path, "-f", "/dev/stdin"], "\n".join((*lines, "")).encode())
    if outcome.code:
        raise CniError(INVALID_CONFIG, f"nft refuses the conditions: {outcome.complaint}")
