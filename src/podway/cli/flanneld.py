"""``podway flanneld``, and podway under the name ``flanneld``: an agent in flanneld's place.

The words behind the command are flanneld's own, in Go's form (-ip-masq, --iface=eth0), so they are
read by `podway.agent.flanneld` and not by argparse.
"""

import argparse
import os
import sys
from collections.abc import MutableMapping, Sequence

from msgspec.structs import replace

from podway import __version__
from podway.agent.flanneld import PREFIX, Translation, translate
from podway.agent.flanneld_flags import render_usage
from podway.agent.goflags import FlagError
from podway.agent.main import serve
from podway.agent.settings import Settings
from podway.errors import PodwayError
from podway.kernel.logs import configure_logging, get_log
from podway.store.access import PASSWORD_VARIABLE

NAME = "flanneld"
WRONG_ARGUMENTS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway flanneld``, for help and manual."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = render_usage()
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="flanneld's flags, see below")


def run(args: argparse.Namespace) -> int:
    """Run with the words that argparse has left (none of them begins with a dash)."""
    return run_flanneld(args.flags)


def run_flanneld(argv: Sequence[str], environ: MutableMapping[str, str] | None = None) -> int:
    """Do what a flanneld started with *argv* would; return the exit code."""
    environ = os.environ if environ is None else environ
    try:
        said = translate(argv, environ)
    except FlagError as error:
        print(f"{error}\n{render_usage()}", end="", file=sys.stderr)
        return WRONG_ARGUMENTS
    except PodwayError as error:
        print(f"{NAME}: {error}", file=sys.stderr)
        return 1
    if said.asks:
        text = render_usage() if said.asks == "help" else f"podway {__version__}\n"
        print(text, end="", file=sys.stderr)
        return 0
    return _serve(said, environ)


def _serve(said: Translation, environ: MutableMapping[str, str]) -> int:
    settings = said.settings
    configure_logging(settings.log_level, settings.log_format, sys.stderr)
    log = get_log("podway.flanneld")
    for notice in said.notices:
        log.warning("flag", notice=notice)
    try:
        settings = settings_of(said, environ)
    except PodwayError as error:
        log.error("cannot go on", reason=str(error))  # noqa: TRY400  (for people, no traceback)
        return 1
    return serve(settings)


def settings_of(said: Translation, environ: MutableMapping[str, str]) -> Settings:
    """Return the settings of *said*, complete; the password is in *environ* from now on.

    Raises:
        ConfigError: there is no login for the cluster.
        StoreError: it cannot be asked for the node's name.
    """
    if said.password:
        environ[PASSWORD_VARIABLE] = said.password.value
        environ.pop(f"{PREFIX}_ETCD_PASSWORD", None)
    if not said.settings.store.startswith("kubernetes:"):
        return said.settings
    from podway.cli.flanneld_node import node_of_pod, uplinks_named_on  # noqa: PLC0415

    settings = said.settings
    if said.pod is not None:
        settings = replace(settings, node=node_of_pod(settings.store, *said.pod))
    if named := uplinks_named_on(settings.store, settings.node):
        return replace(settings, uplinks=named, uplink_patterns=(), uplink_can_reach=None)
    return settings
