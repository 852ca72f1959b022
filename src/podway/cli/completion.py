"""``podway completion``: a script that lets bash or zsh complete podway's commands."""

import argparse

EPILOG = """\
bash:  podway completion bash > /etc/bash_completion.d/podway
zsh:   podway completion zsh > /usr/local/share/zsh/site-functions/_podway
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway completion``."""
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell to complete for")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415  (only this command needs it)

    from podway.cli.main import full_parser  # noqa: PLC0415  (main imports this module by name)

    print(shtab.complete(full_parser(), shell=args.shell))
    return 0
