"""What all CNI executables share: a request in, a call of the plugin's function, an answer out.

In: a `CniPlugin`, the functions of one executable. Out: what a runtime reads: the result in the
version of the configuration, or an error as JSON with exit code 1. Called by each plugin's
``main()``. Why it is hard: whatever goes wrong at whatever point must come out as JSON, an ADD
whose answer cannot be given must leave nothing, and the plugin's own network namespace must be
refused before anything is touched (or the host would lose its devices).

Order of checks, SPEC 1.1.0: environment (4), JSON (6), network name (7), version (1), namespace
(8); then the plugin's own (7 for its configuration).
"""

from sys import modules

from podway import __version__
from podway.cni.documents import MAX_DOCUMENT_BYTES, decode, encode
from podway.cni.errors import (
    INTERNAL,
    INVALID_CONFIG,
    INVALID_NETNS,
    IO_FAILURE,
    CniError,
    error_document,
)
from podway.cni.requests import ATTACHMENT_COMMANDS, parse_command, parse_request
from podway.cni.results import Result, render_result
from podway.cni.values import Value, replace
from podway.cni.versions import ALL, NEWEST, render_version
from podway.errors import ConfigError
from podway.plugins.process import finish, read_environment, read_stdin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from podway.cni.requests import NetConf, Request


class Call(Value):
    """One call of a plugin, by a runtime or by another plugin that delegates to it.

    Attributes:
        request: environment and configuration, checked.
        stdin: the configuration as it came, for plugins that this one delegates to.
        netns: open descriptor of CNI_NETNS; None when DEL finds it gone, for GC and STATUS, and in
            plugins that do not open it.
    """

    request: "Request"
    stdin: bytes
    netns: int | None = None

    @property
    def config(self) -> "NetConf":
        """The network configuration."""
        return self.request.config

    @property
    def namespace(self) -> int:
        """The descriptor of CNI_NETNS, where there must be one: in ADD and CHECK.

        Raises:
            CniError: INVALID_NETNS, there is none.
        """
        if self.netns is None:
            raise CniError(INVALID_NETNS, f"CNI_NETNS = {self.request.netns!r} is not open")
        return self.netns


class CniPlugin(Value):
    """One executable: what it is called, and a function for each command.

    Attributes:
        name: of the executable.
        about: what it does, in a few words, for whoever starts it by hand.
        add: attaches, and returns the result; what it made before an error it has undone.
        delete: takes away what ADD made and what of it is left; nothing left is no error.
        check: raises if something that ADD made is missing or differs.
        gc: takes away what belongs to attachments of this network that are not valid any more.
        status: raises UNAVAILABLE or LIMITED_CONNECTIVITY if an ADD could not be served.
        opens_netns: ADD, CHECK and DEL work in CNI_NETNS; False for IPAM plugins.
        versions: that it has, oldest first.
    """

    name: str
    about: str
    add: "Callable[[Call], Result]"
    delete: "Callable[[Call], None]"
    check: "Callable[[Call], None]"
    gc: "Callable[[Call], None]"
    status: "Callable[[Call], None]"
    opens_netns: bool = True
    versions: tuple[str, ...] = ALL


class OnDemand:
    """A command whose module is loaded when it is called: each loads what it needs, and no more.

    Attributes:
        module: of podway's plugins.
        name: of the function in it.
    """

    __slots__ = ("module", "name")

    def __init__(self, place: str) -> None:
        """Take *place*, as ``bridge_add.add``; that it exists is seen by the tests."""
        module, _, self.name = place.partition(".")
        self.module = f"podway.plugins.{module}"

    def load(self) -> "Callable[[Call], Any]":
        """Return the function."""
        __import__(self.module)
        found: Callable[[Call], Any] = getattr(modules[self.module], self.name)
        return found

    def __call__(self, call: Call) -> "Any":
        """Do what the function does."""
        return self.load()(call)


def keep_nothing(call: Call) -> None:
    """Do nothing: the command of a plugin that has nothing to look after."""
    del call


def run_plugin(plugin: CniPlugin) -> "NoReturn":
    """Answer the call in environment and standard input, and end the process."""
    stdin = b""
    try:
        environment = read_environment()
        command = environment.get("CNI_COMMAND")
        if not command:
            finish(0, "", _about(plugin))
        if command == "VERSION":
            finish(0, render_version(plugin.versions))
        parse_command(environment)
        stdin = read_stdin(MAX_DOCUMENT_BYTES)
        code, stdout = 0, _answer(plugin, environment, stdin)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a runtime reads JSON, never a traceback
        code, stdout = 1, render_failure(as_cni_error(plugin.name, error), stdin)
    finish(code, stdout)


def _answer(plugin: CniPlugin, environment: "Mapping[str, str]", stdin: bytes) -> str:
    """Return what goes to standard output."""
    request = parse_request(environment, stdin, plugin.versions)
    call = Call(request=request, stdin=stdin, netns=_open_netns(plugin, request))
    result = dispatch(plugin, call)
    if result is None:
        return ""
    try:
        return render_result(result, request.config.cni_version)
    except CniError:
        plugin.delete(with_command(call, "DEL"))
        raise


def dispatch(plugin: CniPlugin, call: Call) -> Result | None:
    """Do what *call* asks; return the result of an ADD."""
    command = call.request.command
    if command == "ADD":
        return plugin.add(call)
    answers = {
        "DEL": plugin.delete,
        "CHECK": plugin.check,
        "GC": plugin.gc,
        "STATUS": plugin.status,
    }
    answers[command](call)
    return None


def with_command(call: Call, command: str) -> Call:
    """Return *call* with another command: the DEL that undoes an ADD."""
    return replace(call, request=replace(call.request, command=command))


def as_cni_error(name: str, error: BaseException) -> CniError:
    """Return *error*, raised in plugin *name*, as a runtime should read it."""
    notes = getattr(error, "__notes__", None)
    if notes:
        told = as_cni_error(name, _without_notes(error))
        return CniError(told.code, told.msg, "; ".join((told.details, *notes)).removeprefix("; "))
    if isinstance(error, CniError):
        return error
    if isinstance(error, ConfigError):
        return CniError(INVALID_CONFIG, str(error))
    if isinstance(error, OSError):
        # What the kernel refused; `NetlinkError` and `NetnsError` say what was attempted.
        return CniError(IO_FAILURE, str(error))
    return CniError(INTERNAL, f"defect in the {name} plugin: {type(error).__name__}: {error}")


def _without_notes(error: BaseException) -> BaseException:
    """Return *error* after its notes (what could not be undone) were taken over."""
    error.__notes__ = []
    return error


def render_failure(error: CniError, stdin: bytes) -> str:
    """Return *error* as JSON, in the version of the configuration in *stdin* if it has one."""
    try:
        version = decode(stdin, "network configuration").get("cniVersion")
    except CniError:
        version = None
    return encode(error_document(error, version if version in ALL else NEWEST))


def _open_netns(plugin: CniPlugin, request: "Request") -> int | None:
    """Return a descriptor of CNI_NETNS; None where there is none to open, or DEL finds it gone.

    Raises:
        CniError: INVALID_NETNS, it is none, or the plugin's own: that is refused also by plugins
            which do not go there, as everything that they would do is for nobody.
    """
    command = request.command
    if command not in ATTACHMENT_COMMANDS or (command == "DEL" and not request.netns):
        return None
    from podway.plugins.namespaces import (  # noqa: PLC0415
        NetnsGoneError,
        open_netns,
        refuse_own_path,
    )

    if not plugin.opens_netns:
        if not request.netns_override:
            refuse_own_path(request.netns)
        return None
    try:
        return open_netns(request.netns, may_be_own=request.netns_override)
    except NetnsGoneError:
        if command == "DEL":
            return None
        raise


def _about(plugin: CniPlugin) -> str:
    return (
        f"podway CNI plugin {plugin.name} {__version__}: {plugin.about}\n"
        f"CNI protocol versions supported: {', '.join(plugin.versions)}\n"
    )
