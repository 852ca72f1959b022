"""What can go wrong between podway and the kernel's netlink sockets.

::

    PodwayError
    ├── NetlinkError           the kernel refused one request; an OSError with its errno
    │   ├── (is_not_found)     what was to be read or deleted is not there
    │   └── (is_exists)        what was to be created is there already
    ├── NetnsError             a namespace cannot be opened, entered, made or deleted; an OSError
    ├── EncodeError            a message names an unknown field or an impossible value; a ValueError
    └── DecodeError            bytes that are no netlink message: truncated or garbage; a ValueError

    NamespaceLostError         a SystemExit: this thread cannot go home and must end

Callers branch on `errno` or on the predicates, never on text: the text is for people and holds the
operation in words, the kernel's reason (extended acknowledgement) and the attribute it points at.
"""

from __future__ import annotations

import errno as errnos
from posix import strerror

from podway.errors import PodwayError

# What the kernel says when the thing named is not there: links ENODEV, routes ESRCH, neighbours,
# FDB entries and rules ENOENT, addresses EADDRNOTAVAIL.
_ABSENT = frozenset({errnos.ENOENT, errnos.ENODEV, errnos.ESRCH, errnos.EADDRNOTAVAIL})


def errno_name(number: int) -> str:
    """Return the symbol of an errno (``ENODEV``), or its number as text when it has none."""
    return errnos.errorcode.get(number, str(number))


class _ErrnoError(PodwayError, OSError):
    """Something that was asked of the kernel failed with an errno."""

    errno: int

    def __init__(self, errno: int, operation: str) -> None:
        super().__init__(errno, strerror(errno))
        self.operation = operation

    def __str__(self) -> str:
        return f"cannot {self.operation}: {self.strerror} ({errno_name(self.errno)})"

    @property
    def is_not_found(self) -> bool:
        """What was to be read, entered, changed or deleted does not exist."""
        return self.errno in _ABSENT

    @property
    def is_exists(self) -> bool:
        """What was to be created exists already."""
        return self.errno == errnos.EEXIST


class NetlinkError(_ErrnoError):
    """One netlink request failed.

    Attributes:
        errno: the kernel's error number, positive.
        operation: what was attempted, ``create route 10.244.1.0/24 via 10.244.1.0 dev podway.1``.
        reason: the kernel's own words (NLMSGERR_ATTR_MSG), "" when it gave none.
        attribute: dotted name of the field that the kernel points at (``linkinfo.data.port``),
            "" when it points at none.
        is_missing: the attribute is one that the request lacks.
    """

    def __init__(
        self,
        errno: int,
        operation: str,
        reason: str = "",
        attribute: str = "",
        *,
        is_missing: bool = False,
    ) -> None:
        super().__init__(errno, operation)
        self.reason = reason
        self.attribute = attribute
        self.is_missing = is_missing

    def __str__(self) -> str:
        text = super().__str__()
        if self.reason:
            text += f": {self.reason}"
        if self.attribute:
            text += f" [{'missing field' if self.is_missing else 'field'} {self.attribute}]"
        return text


class NetnsError(_ErrnoError):
    """A network namespace cannot be opened, entered, made or deleted.

    Attributes:
        errno: as the system call gave it, positive.
        operation: what was attempted, ``enter network namespace fd 7``.
        hint: what to do about it, "" when there is nothing to say.
    """

    def __init__(self, errno: int, operation: str, hint: str = "") -> None:
        super().__init__(errno, operation)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; {self.hint}" if self.hint else text


class NamespaceLostError(SystemExit):
    """The calling thread entered a network namespace and cannot return to its own.

    Whatever it did next would happen in the wrong namespace, so this derives from SystemExit: no
    ``except OSError`` or ``except Exception`` keeps the thread alive, the main thread ends the
    process (status 1, this text on stderr), another thread ends itself.
    """


class EncodeError(PodwayError, ValueError):
    """A message cannot be put into bytes.

    Attributes:
        field: dotted name (``linkinfo.data.port``).
        value: the value as given.
        rule: what the value must be.
    """

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field = field
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.field} = {self.value!r}: {self.rule}"

    def within(self, outer: str) -> EncodeError:
        """Return this error, its field seen from one level further out."""
        self.field = f"{outer}.{self.field}"
        return self


class DecodeError(PodwayError, ValueError):
    """Bytes that are not what a kernel sends: truncated, overlong or garbage.

    Attributes:
        field: dotted name of the place (``route.multipath.gateway``), "" at the outermost level.
        fault: what is wrong there.
    """

    def __init__(self, fault: str, field: str = "") -> None:
        super().__init__(fault, field)
        self.fault = fault
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.fault}" if self.field else self.fault

    def within(self, outer: str) -> DecodeError:
        """Return this error, its field seen from one level further out."""
        self.field = f"{outer}.{self.field}" if self.field else outer
        return self
