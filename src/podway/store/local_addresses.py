"""Does this machine still have the address from which a connection goes?

A connection outlives its address: when an interface gets another one, nothing ends, and nothing
comes back either. TCP goes on trying for a quarter of an hour. Who knows that addresses have
changed looks at once instead, and connects anew.
"""

import errno
import socket


def is_stranded(sockname: object) -> bool:
    """Tell whether a socket with the name *sockname* has lost its address.

    Asked is whether an address can be bound, which needs no netlink and no privilege. Where binding
    to foreign addresses is allowed (ip_nonlocal_bind), nothing is ever found to be stranded.
    """
    if not isinstance(sockname, tuple):
        return False  # a Unix socket
    family = socket.AF_INET if len(sockname) == 2 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((sockname[0], 0, *sockname[2:]))
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
    return False
