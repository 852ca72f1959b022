"""``podway completion``: a script that lets a shell complete podway's commands."""

import argparse
from collections.abc import Iterator

from podway.agent.places import AGENT_SOCKET, DEFAULT_RUN_DIR
from podway.cli.agents import COMPLETE_INSTANCES

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
bash:  podway completion bash > /etc/bash_completion.d/podway
zsh:   podway completion zsh > /usr/local/share/zsh/site-functions/_podway
fish:  podway completion fish > /etc/fish/completions/podway.fish
"""
# Names of the instances that have a socket, one a line, by the shell's own means.
_NAMES = f"{DEFAULT_RUN_DIR}-*/{AGENT_SOCKET}"
_LIST = f'each=${{each#{DEFAULT_RUN_DIR}-}}; names+=("${{each%/*}}")'
PREAMBLES = {
    "bash": f"""\
{COMPLETE_INSTANCES}() {{
  local each names=()
  for each in {_NAMES}; do [[ -e $each ]] || continue; {_LIST}; done
  compgen -W "${{names[*]}}" -- "$1"
}}
""",
    "zsh": f"""\
{COMPLETE_INSTANCES}() {{
  local each names=()
  for each in {_NAMES}(N); do {_LIST}; done
  compadd -a names
}}
""",
    "fish": f"""\
function {COMPLETE_INSTANCES}
  for each in {_NAMES}
    string replace -r '^{DEFAULT_RUN_DIR}-(.*)/{AGENT_SOCKET}$' '$1' $each
  end
end
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of ``podway completion``."""
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete for")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415  (only this command needs it)

    from podway.cli.main import full_parser  # noqa: PLC0415  (main imports this module by name)

    parser = full_parser()
    kinds = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "PATH": shtab.FILE}
    for action in arguments_of(parser):
        if action.metavar in kinds:
            # Read by shtab, which knows only such an attribute for it.
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=args.shell, preamble=PREAMBLES[args.shell]))
    return 0


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of *parser* and of all commands below it."""
    for action in parser._actions:  # noqa: SLF001  (argparse shows them nowhere else)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from arguments_of(child)
        else:
            yield action
