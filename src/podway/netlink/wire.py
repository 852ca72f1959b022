"""Messages in a buffer: nlmsghdr, acknowledgements and extended acknowledgements.

A datagram of a netlink socket holds one or more messages, each padded to 4 bytes::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                  nlmsg_len (with this header)                 |
    +-------------------------------+-------------------------------+
    |          nlmsg_type           |          nlmsg_flags          |
    +-------------------------------+-------------------------------+
    |                  nlmsg_seq                                    |
    +---------------------------------------------------------------+
    |                  nlmsg_pid (port id)                          |
    +---------------------------------------------------------------+

NLMSG_ERROR holds a negative errno (0: an acknowledgement), the header of the message it answers
and, under NETLINK_EXT_ACK, attributes with the reason in words and the offset of the attribute at
fault. With NETLINK_CAP_ACK the rest of the answered message is left out::

    +------------------+---------------------+---------------------------+
    |  error (s32)     | nlmsghdr (16 bytes) | NLMSGERR_ATTR_* if TLVS    |
    +------------------+---------------------+---------------------------+

Everything is in the machine's byte order. Nothing here knows what messages mean.

Sources: include/uapi/linux/netlink.h, net/netlink/af_netlink.c (netlink_ack).
"""
