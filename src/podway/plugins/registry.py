"""Which CNI executables there are: the name that a configuration's ``type`` uses, and its module.

Read by `install` and by the command line; the executables themselves do not need it. A module of
this table has a function ``main()`` without arguments that answers one CNI call and ends the
process, and imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Final

from podway.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Plugin:
    """One executable.

    Attributes:
        name: of the file, as ``type`` in a network configuration.
        module: where its ``main()`` is.
        about: what it does, in one line.
    """

    name: str
    module: str
    about: str


PLUGINS: Final = (
    Plugin(
        name="podway",
        module="podway.plugins.podway",
        about="attaches a pod to podway's network; asks the agent",
    ),
)


def find_plugins(names: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Return the plugins called *names*, in that order; all of them for no names.

    Raises:
        ConfigError: one of them does not exist.
    """
    by_name = {plugin.name: plugin for plugin in PLUGINS}
    for name in names:
        if name not in by_name:
            raise ConfigError("plugin", name, f"must be one of {', '.join(by_name)}")
    return tuple(by_name[name] for name in names) if names else PLUGINS
