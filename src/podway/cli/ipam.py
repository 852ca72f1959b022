"""``podway ipam``: the pod addresses that this node has given out."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from podway.cli.agents import add_agent, ask_agent
from podway.cli.arguments import add_groups, add_leaf
from podway.cli.output import Style, counted, elapsed, plural, print_json, render_table, style_of
from podway.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe ``podway ipam``'s commands."""
    group = add_groups(parser)
    add_agent(add_leaf(group, "show", _show, "list the addresses and who holds them"))
    add_agent(add_leaf(group, "check", _check, "look for addresses that nobody uses any more"))
    release = add_leaf(
        group,
        "release",
        _release,
        "take an address back from a pod that is gone",
        epilog="Only for an address that 'podway ipam check' names: a pod that lives keeps its own",
    )
    release.add_argument("address", metavar="ADDRESS", help="the address, such as 10.244.1.7")
    add_agent(release)


def _show(args: argparse.Namespace) -> int:
    answer = ask_agent(args, "ipam.show")
    if args.json:
        print_json(answer)
    else:
        print("\n".join(render_show(answer, style_of(sys.stdout))))
    return 0


def _check(args: argparse.Namespace) -> int:
    answer = ask_agent(args, "ipam.check", timeout_s=30.0)
    if args.json:
        print_json(answer)
    else:
        print("\n".join(render_check(answer, style_of(sys.stdout))))
    return 1 if answer["problems"] else 0


def _release(args: argparse.Namespace) -> int:
    try:
        ip_address(args.address)
    except ValueError as error:
        rule = "must be an address, such as 10.244.1.7"
        raise ArgumentError("ADDRESS", args.address, rule) from error
    answer = ask_agent(args, "ipam.release", {"address": args.address})
    if args.json:
        print_json(answer)
    else:
        print(f"{args.address} is free again.")
    return 0


def render_show(answer: Mapping[str, Any], style: Style) -> list[str]:
    """Return the pools and the addresses as two tables."""
    pools = [
        (pool["subnet"], str(pool["used"]), str(pool["cooling"]), counted(pool["free"]))
        for pool in answer["pools"]
    ]
    header = ("ADDRESS", "STATE", "POD", "CONTAINER", "INTERFACE", "NETWORK")
    rows = [_address_row(entry, style) for entry in answer["addresses"]]
    return [
        *render_table(("SUBNET", "USED", "COOLING", "FREE"), pools, style, right=True),
        "",
        *(render_table(header, rows, style) if rows else ["No address is given out."]),
    ]


def _address_row(entry: Mapping[str, Any], style: Style) -> tuple[str, ...]:
    state = entry["state"]
    if entry.get("released_s") is not None:
        state = style.dim(f"{state} {elapsed(entry['released_s'])} ago")
    return (
        entry["address"],
        state,
        entry.get("pod") or "-",
        (entry.get("container_id") or "-")[:12],
        entry.get("ifname") or "-",
        entry.get("network") or "-",
    )


def render_check(answer: Mapping[str, Any], style: Style) -> list[str]:
    """Return what is wrong with which address, and what to do about it."""
    checked = plural(answer["checked"], "address")
    problems: Sequence[Mapping[str, Any]] = answer["problems"]
    if not problems:
        return [f"{checked} checked, all in order."]
    rows = [(item["address"], style.bad(item["problem"]), item["what_to_do"]) for item in problems]
    return [
        *render_table(("ADDRESS", "PROBLEM", "WHAT TO DO"), rows, style),
        "",
        f"{checked} checked, {plural(len(problems), 'problem')}.",
    ]
