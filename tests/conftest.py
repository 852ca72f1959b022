"""What every test may use: golden files, Hypothesis profiles, and the reason for each skip."""

import os

import pytest
from hypothesis import HealthCheck, settings

from golden_files import GOLDEN_ROOT, Golden, difference, update

pytest_plugins = ["kernel_features"]

# "ci" gives the same examples in every run, so that a red run is red for a reason; "dev" looks for
# new ones. No deadlines: the time that an example takes says nothing on a busy machine.
settings.register_profile("dev", deadline=None, max_examples=100)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile(
    "long",
    settings.get_profile("dev"),
    max_examples=2000,
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what tests compute into tests/golden instead of comparing with it",
    )


def pytest_configure() -> None:
    usual = "ci" if os.environ.get("CI") else "dev"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", usual))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with its golden file, or write the file with ``--update-golden``."""

    def check(name: str, text: str) -> None:
        path = GOLDEN_ROOT / name
        if request.config.getoption("--update-golden"):
            update(path, text)
            return
        if not path.exists():
            pytest.fail(f"{path} is missing: run with --update-golden and read what it writes")
        if found := difference(path, text):
            pytest.fail(f"not as in {path} (--update-golden accepts it):\n{found}")

    return check
