"""The keys of a net-conf.json that podway passes over, for those who wrote one by mistake.

flannel ignores what it does not know, and so does podway: a file may be read by both, and by newer
ones. But ``"MTUU": 1400`` is a network with another MTU than its operator believes, so commands and
logs name each such key, and the known one that is most like it.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from msgspec import Struct

from podway.errors import ConfigError
from podway.model.networks import decode_fields, parse_fields


class UnknownKey(Struct, frozen=True):
    """A key that is passed over.

    Attributes:
        key: its path, as it is written (``Backend.MTUU``).
        nearest: the path of the known key that may be meant; "" for none.
    """

    key: str
    nearest: str = ""

    def __str__(self) -> str:
        # Quoted: what comes out of a store may hold line breaks and a terminal's commands.
        told = f"{self.key!r} is no key of net-conf.json that podway knows, and is passed over"
        return f"{told}; did you mean {self.nearest}?" if self.nearest else told


def find_unknown_keys(text: bytes | str) -> tuple[UnknownKey, ...]:
    """Return the keys of net-conf.json *text* that say nothing, in its order.

    A key of another backend than the one that is named is among them. A text that is refused has
    none: its error is to be told first.
    """
    try:
        fields = decode_fields(text)
        # Where no backend is named there is nothing that could be a key of it.
        parse_fields(fields, "vxlan")
    except ConfigError:
        return ()
    known = fields.known()
    return tuple(UnknownKey(key, _nearest(key, known)) for key in fields.passed_over())


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return the path in *known* that is most like *key*: in the same object, or of this name."""
    place, name = _split(key)
    inside = {_split(path)[1].lower(): path for path in known if _split(path)[0] == place}
    elsewhere = {_split(path)[1].lower(): path for path in known}
    if (path := elsewhere.get(name.lower())) is not None:
        return path
    return next((inside[match] for match in get_close_matches(name.lower(), inside, n=1)), "")


def _split(path: str) -> tuple[str, str]:
    place, _, name = path.rpartition(".")
    return place, name
