"""Messages between two codecs: pyroute2's bytes read by ours, and ours by pyroute2."""

import sys
from typing import Any

from podway.netlink.messages import Schema


def decode_theirs(schema: Schema[Any], message: Any) -> dict[str, Any]:
    """Encode with pyroute2 and decode with ours."""
    message.encode()
    data = bytes(message.data)
    fields: dict[str, Any] = schema.decode(data, 16, len(data))
    return fields


def read_by_pyroute2(schema: Schema[Any], message_class: Any, fields: dict[str, Any]) -> Any:
    """Encode with ours and decode with pyroute2."""
    payload = schema.encode(fields)
    data = (16 + len(payload)).to_bytes(4, sys.byteorder) + bytes(12) + payload
    message = message_class(data)
    message.decode()
    return message
