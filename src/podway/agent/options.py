"""Options of daemons: each may also come from the environment, and each text is checked.

``--lease-ttl`` is PODWAY_LEASE_TTL (dashes as underscores), and the same rules hold for both: a
flag is 1, true, 0 or false there, an option that may be repeated a list with commas.
"""

import argparse
import os
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

from podway.compute.subnets import SubnetRefused, check_name
from podway.errors import ConfigError
from podway.model.addresses import IPAddress
from podway.model.instances import instance_of

T = TypeVar("T")


class Repeated(argparse.Action):
    """Collects an option's values; one on the command line replaces what the default has."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        _option: str | None = None,
    ) -> None:
        """Take one value in."""
        before = getattr(namespace, self.dest)
        kept = [] if before is self.default else before
        setattr(namespace, self.dest, [*kept, values])


class Options:
    """Adds options whose default may come from the environment, to *parser* or a group of it."""

    def __init__(
        self,
        parser: argparse.ArgumentParser,
        group: "argparse._ArgumentGroup | None" = None,
    ) -> None:
        self._parser = parser
        self._add = (group or parser).add_argument

    def add(self, flag: str, **options: Any) -> None:
        """Add *flag*, with *options* as `argparse.ArgumentParser.add_argument` takes them."""
        self._add(flag, **{**options, **self._from_environment(flag, options)})

    def _from_environment(self, name: str, options: Mapping[str, Any]) -> dict[str, object]:
        variable = f"PODWAY_{name.removeprefix('--').replace('-', '_').upper()}"
        text = os.environ.get(variable)
        if not text:  # set but empty, as a manifest or a unit writes what it leaves open
            return {}
        match options.get("action"):
            case "store_true":
                return {"default": self._checked(variable, flag, text)}
            case _ if options.get("action") is Repeated:
                parts = [part.strip() for part in text.split(",") if part.strip()]
                check = options["type"]
                return {"default": [self._checked(variable, check, part) for part in parts]}
            case _:
                check = options.get("type", str)
                value = self._checked(variable, check, text)
                known = options.get("choices", (value,))
                if value not in known:
                    self._parser.error(f"{variable} = {text!r}: must be one of {', '.join(known)}")
                return {"default": value}

    def _checked(self, variable: str, check: Callable[[str], T], text: str) -> T:
        try:
            return check(text)
        except argparse.ArgumentTypeError as error:
            self._parser.error(f"{variable} = {error}")


def node_name(text: str) -> str:
    """Return *text* if the store takes it for a node's name."""
    try:
        check_name(text)
    except SubnetRefused as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def public_address(text: str) -> IPAddress:
    """Return *text* as an address by which another machine can reach this one."""
    try:
        address = ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be an IP address") from None
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        raise argparse.ArgumentTypeError(f"{text!r}: must be an address that peers can reach")
    return address


def pattern(text: str) -> str:
    """Return *text* if it is a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r}: no regular expression: {error}") from None
    return text


def instance_name(text: str) -> str:
    """Return *text* if an instance may have this name."""
    return _checked_name(text, text, "")


def device_prefix(text: str) -> str:
    """Return *text* if devices' names may begin so."""
    return _checked_name(text, "", text)


def _checked_name(text: str, name: str, prefix: str) -> str:
    try:
        instance_of(name, prefix)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.rule}") from error
    return text


def positive_seconds(text: str) -> float:
    """Return *text* as seconds above 0."""
    seconds = _number(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number of seconds above 0")
    return seconds


def lease_ttl(text: str) -> int:
    """Return *text* as a time to live: 0, or at least 10 seconds."""
    seconds = _number(text)
    if not (seconds == 0 or (10 <= seconds <= 365 * 86400 and seconds.is_integer())):
        raise argparse.ArgumentTypeError(f"{text!r}: must be 0, or 10 to 31536000 seconds")
    return int(seconds)


def flag(text: str) -> bool:
    """Return what the environment says of an option that takes no value."""
    match text.lower():
        case "1" | "true":
            return True
        case "0" | "false" | "":
            return False
        case _:
            raise argparse.ArgumentTypeError(f"{text!r}: must be 1, true, 0 or false")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
