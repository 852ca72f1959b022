"""Turns the process of the ``dhcp`` executable into its daemon.

In: arguments. Called by `dhcp` alone. What makes an executable quick is taken back, since a daemon
lives long: the garbage collector runs, and imports go Python's way.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run_daemon(arguments: "list[str]") -> "NoReturn":
    """Run the daemon; end the process with its exit code."""
    import gc  # noqa: PLC0415

    from podway.plugins.quick_imports import remove  # noqa: PLC0415

    remove()
    gc.enable()
    from podway.dhcp.main import main  # noqa: PLC0415

    raise SystemExit(main(arguments))
