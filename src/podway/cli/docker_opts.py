"""``podway docker-opts``: subnet.env in Docker's words, as flannel's mk-docker-opts.sh says it."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from podway.errors import ConfigError

DEFAULT_SUBNET_FILE = "/run/flannel/subnet.env"
DEFAULT_OUTPUT = "/run/docker_opts.env"
_NEEDED = ("FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway docker-opts``."""
    parser.epilog = "Without -i and -c all variables are written."
    parser.add_argument(
        "-f", dest="subnet_file", type=Path, default=Path(DEFAULT_SUBNET_FILE), metavar="FILE",
        help="what the agent wrote (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-d", dest="output", type=Path, default=Path(DEFAULT_OUTPUT), metavar="FILE",
        help="where to write, - for here (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("-i", dest="single", action="store_true", help="one variable per option")
    parser.add_argument("-c", dest="combined", action="store_true", help="one for all options")
    parser.add_argument("-m", dest="without_masq", action="store_true", help="leave --ip-masq out")
    parser.add_argument(
        "-k", dest="name", default="DOCKER_OPTS", metavar="NAME",
        help="of the variable for all options (default: %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    try:
        text = args.subnet_file.read_text()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        rule = f"cannot be read ({why}): is the agent running, with --subnet-file?"
        raise ConfigError("-f", str(args.subnet_file), rule) from error
    every = args.single == args.combined
    lines = render_docker_opts(
        parse_variables(text),
        name=args.name,
        single=args.single or every,
        combined=args.combined or every,
        masquerade=not args.without_masq,
    )
    if str(args.output) == "-":
        sys.stdout.write(lines)
        return 0
    try:
        args.output.write_text(lines)
    except OSError as error:
        rule = f"cannot be written ({error.strerror})"
        raise ConfigError("-d", str(args.output), rule) from error
    return 0


def parse_variables(text: str) -> dict[str, str]:
    """Return the variables of subnet.env.

    Raises:
        ConfigError: one that Docker's options need is missing.
    """
    pairs = (line.strip().partition("=") for line in text.splitlines())
    found = {name: value for name, _, value in pairs}
    for name in _NEEDED:
        if not found.get(name):
            raise ConfigError(name, found.get(name, ""), "must stand in the subnet file")
    return found


def render_docker_opts(
    variables: Mapping[str, str], *, name: str, single: bool, combined: bool, masquerade: bool
) -> str:
    """Return the variables for Docker: it masquerades where the agent does not."""
    masq = "false" if variables["FLANNEL_IPMASQ"] == "true" else "true"
    options = {"BIP": f"--bip={variables['FLANNEL_SUBNET']}"}
    if masquerade:
        options["IPMASQ"] = f"--ip-masq={masq}"
    options["MTU"] = f"--mtu={variables['FLANNEL_MTU']}"
    lines = [f'DOCKER_OPT_{key}="{value}"\n' for key, value in options.items()] if single else []
    if combined:
        lines.append(f'{name}=" {" ".join(options.values())}"\n')
    return "".join(lines)
