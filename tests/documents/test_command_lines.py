"""Every command and every option that documents name is there, and every option is named."""

import argparse
import re
from collections.abc import Iterator

import pytest

from documents.pages import Command, Page, inline_code, named_commands, read_pages, shown_commands
from podway.agent.flanneld import translate
from podway.agent.flanneld_flags import FLAGS
from podway.cli.main import build_parser, full_parser

PAGES = read_pages()
BY_PAGE = pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
# Of other programs, and of tests, where they stand alone between backticks.
FOREIGN = {
    *("--cluster-cidr", "--allocate-node-cidrs", "--client-cert-auth", "--enable-grpc-gateway"),
    *("--update-golden", "--permanent"),
}
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z0-9-]*[a-z0-9](?![\w*-])")


def parsers_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield *parser* and those of all commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in dict.fromkeys(action.choices.values()):
                yield from parsers_of(child)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the long options of *parser* and of all commands below it."""
    return {
        option
        for each in parsers_of(parser)
        for option in each._option_string_actions
        if option.startswith("--")
    }


PARSER = full_parser()
OPTIONS = options_of(PARSER)


def follow(command: Command) -> None:
    """Walk along the words of *command* that name commands and options; none may be unknown."""
    parser, known = PARSER, set[str]()
    for word in command.words:
        if word == "--" or parser.prog in {"podway flanneld", "podway lab exec"}:
            return
        known |= set(parser._option_string_actions)
        children = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"{command}: {word}"
            if word == "--flanneld":
                return
        elif children and (child := children[0].choices.get(word)):
            parser = child
        elif children and not word.isupper() and parser.prog in {"podway", "podway lab"}:
            assert set(command.words) & {"--name"}, f"{command}: {word}"


@BY_PAGE
def test_commands_and_options_are_there(page: Page) -> None:
    for command in (*shown_commands(page), *named_commands(page)):
        follow(command)


@BY_PAGE
def test_what_is_shown_can_be_typed(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    """The parser of the command takes it with every value; nothing is run."""
    for command in shown_commands(page):
        if command.is_whole and (why := refusal(command, capsys)):
            pytest.fail(f"{command}: {why}")


def refusal(command: Command, capsys: pytest.CaptureFixture[str]) -> str:
    """Return why the parser of *command* does not take it; "" if it does."""
    words = list(command.words)
    for start in ("flanneld", "--flanneld"):
        if start in words:
            place = words.index(start)
            translate(words[place + 1 :], {"NODE_NAME": "n1"})
            words = words[: place + 1]
    if {"--help", "-h", "--version"} & set(words):
        return ""
    try:
        _, unknown = build_parser(words).parse_known_args(words)
    except SystemExit:
        return capsys.readouterr().err
    return f"unknown: {unknown}" if unknown else ""


@BY_PAGE
def test_options_that_stand_alone_are_there(page: Page) -> None:
    """As in `--uplink ADDRESS`; what follows another program's name is that program's."""
    flags = {f"--{name}" for name in FLAGS}
    alone = [text for text in inline_code(page) if text.startswith("--")]
    named = {option for text in alone for option in _OPTION.findall(text)}
    assert named - OPTIONS - FOREIGN - flags == set()


def test_options_that_are_there_are_named() -> None:
    """In prose or in a table: what ``--help`` alone has nobody looks for."""
    told = {option for page in PAGES for option in _OPTION.findall(page.text)}
    told |= {f"-{option}" for option in told}  # the dhcp daemon takes one dash, as the original
    assert OPTIONS - told - {"--help", "--version"} == set()
