"""What the README and the manual of the lab show is what happens: every command is run again."""

import re
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from documents.pages import blocks, commands_in, fenced_blocks, read_command, read_page
from documents.transcripts import Step, difference, transcripts
from lab.probes import PODWAY, leftovers
from podway.lab.names import LABS_DIR
from podway.lab.progress import silent
from podway.lab.teardown import take_down

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(300)]
README = read_page("README.md")
LAB = read_page("docs/howto/lab.md")


class Labs:
    """Labs of the test's own in place of those that a document names."""

    def __init__(self) -> None:
        # As long as a lab's name may be with the document's own in it, so each is found again.
        self.mark = f"d{secrets.token_hex(3)}"

    def name(self, told: str) -> str:
        return f"{self.mark}{told}"

    def words(self, words: tuple[str, ...]) -> list[str]:
        """Return *words* for this test's labs; pods have ``--name`` too."""
        told = [re.sub(rf"(?<={LABS_DIR}/)\w+", lambda m: self.name(m[0]), w) for w in words]
        if told[0] != "lab":
            return told
        if "--name" in told and "pod" not in told:
            place = told.index("--name") + 1
            told[place] = self.name(told[place])
            return told
        return ["lab", "--name", self.name("demo" if "demo" in told else "lab"), *told[1:]]

    def run(self, words: tuple[str, ...]) -> tuple[int, list[str]]:
        """Run ``podway *words*``; return the exit code and the lines that a terminal would show."""
        done = subprocess.run(
            [*PODWAY, *self.words(words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        lines = done.stdout.splitlines()
        if words[:2] == ("lab", "list"):  # this machine may have others
            lines = [line for line in lines if line.startswith(("LAB", self.mark))]
        own = f" --name {self.name('lab')}"
        return done.returncode, [line.replace(own, "").replace(self.mark, "") for line in lines]

    def remove(self) -> list[str]:
        """Remove all of them; return what is left."""
        names = [self.name(told) for told in ("lab", "blue", "demo")]
        for name in names:
            take_down(name, silent)
        return [left for name in names for left in leftovers(name)]


@pytest.fixture
def labs() -> Iterator[Labs]:
    made = Labs()
    yield made
    assert made.remove() == []


def check(labs: Labs, step: Step) -> None:
    """Run the command of *step* and compare."""
    code, printed = labs.run(step.words)
    shown = "\n".join(printed)
    assert (code != 0) == step.fails, f"{step.words}: exit code {code}\n{shown}"
    assert difference(step.lines, printed) == [], f"{step.words}\n{shown}"


def test_the_manual_of_the_lab(labs: Labs) -> None:
    """From its first command to its last, one after the other."""
    sessions = transcripts(LAB)
    assert len(sessions) >= 6
    for session in sessions:
        for step in session:
            check(labs, step)


def test_the_demo_of_the_readme(labs: Labs) -> None:
    told = next(text for text in fenced_blocks(README, "text") if text.startswith("== A cluster"))
    check(labs, Step(("lab", "demo", "--seconds", "1"), tuple(told.splitlines())))


def test_what_the_readme_proposes_to_play_with(labs: Labs) -> None:
    block = next(text for text in blocks(README) if ".venv/bin/podway lab up" in text)
    played = [read_command(README.name, line).words for line in commands_in(block)]
    assert (played[0][1], played[-1][1], len(played)) == ("up", "down", 7)
    for words in played:
        code, printed = labs.run(words)
        assert code == 0, f"{words}\n" + "\n".join(printed)
