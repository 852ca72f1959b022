"""JSON text to plain values and back, with nothing loaded but the C module behind `json`.

In: what a runtime wrote on standard input, or a peer into a frame. Out: dicts, lists, strings,
numbers. Called for every CNI request, by executables too, so `json` itself (7 ms with its regular
expressions) is imported only to word an error.

As in Go's decoder, the last of two equal keys wins; *fields* looks keys up without case. Unlike it,
text that is not UTF-8 or could not be (half of a surrogate pair, escaped) is refused instead of
repaired, NaN and Infinity are refused, and nesting ends at `MAX_DEPTH`.
"""

from _json import encode_basestring_ascii, make_encoder, make_scanner

from podway.cni.errors import DECODING_FAILURE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

# Configurations measure hundreds of bytes; a prevResult adds a few thousand.
MAX_DOCUMENT_BYTES: "Final" = 1 << 20
MAX_DEPTH: "Final" = 64

_BLANKS = " \t\n\r"
_OPENERS = "[{"
_CLOSERS = "]}"


def decode(data: bytes, what: str, limit_bytes: int = MAX_DOCUMENT_BYTES) -> "dict[str, Any]":
    """Return the JSON object in *data*.

    Args:
        data: UTF-8 text.
        what: what the text is, for messages ("network configuration").
        limit_bytes: longer data is refused unread.

    Raises:
        CniError: DECODING_FAILURE.
    """
    if len(data) > limit_bytes:
        raise _refused(what, f"is longer than {limit_bytes} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _refused(what, f"is not UTF-8: byte {error.start}: {error.reason}") from None
    _check_depth(text, what)
    document = _scan_all(text, what)
    if not isinstance(document, dict):
        raise _refused(what, f"must be a JSON object, is {kind_of(document)}")
    if ("\\ud" in text or "\\uD" in text) and not _is_text(document):
        raise _refused(what, "has half of a surrogate pair, which UTF-8 cannot say")
    return document


def encode(document: object) -> str:
    """Return *document* as compact JSON in ASCII.

    Raises:
        TypeError: something in it is not JSON's.
        ValueError: NaN or infinity.
    """
    return "".join(_encoder(document, 0))


def kind_of(value: object) -> str:
    """Return the JSON name of the type of *value*, with an article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, dict) else "an array"


def _refuse_type(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no form in JSON")


# No circular check, no indent, keys unsorted and never skipped, no NaN.
_NO = False
_encoder = make_encoder(None, _refuse_type, encode_basestring_ascii, None, ":", ",", _NO, _NO, _NO)


def _last_wins(pairs: "list[tuple[str, Any]]") -> "dict[str, Any]":
    """Return *pairs* as a dict in which a repeated key stands where its last value stood."""
    document = dict(pairs)
    if len(document) == len(pairs):
        return document
    document.clear()
    for key, value in pairs:
        document.pop(key, None)
        document[key] = value
    return document


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text} is beyond a 64-bit float")
    return number


class _Rules:
    """What the C scanner asks of its decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_last_wins)
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


_scan = make_scanner(_Rules())  # type: ignore[arg-type]


def _scan_all(text: str, what: str) -> "Any":
    start = len(text) - len(text.lstrip(_BLANKS))
    if start == len(text):
        raise _refused(what, "is empty")
    try:
        document, end = _scan(text, start)
    except StopIteration as stop:
        raise _refused(what, _reason(text, f"no value at character {stop.value}")) from None
    except (ValueError, SystemError) as error:
        # SystemError: the scanner words its errors by `json.decoder`, and keeps silent without it.
        raise _refused(what, _reason(text, str(error))) from None
    if text[end:].strip(_BLANKS):
        raise _refused(what, f"has more text after its end at character {end}")
    return document


def _is_text(value: "Any") -> bool:
    """Tell whether all texts in *value*, nested up to `MAX_DEPTH`, could be written as UTF-8."""
    if isinstance(value, dict):
        return all(_is_text(key) and _is_text(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_text, value))
    return not isinstance(value, str) or not any("\ud800" <= each <= "\udfff" for each in value)


def _reason(text: str, fallback: str) -> str:
    """Return what `json` says of *text*; it names line and column, which the C scanner does not."""
    import json  # noqa: PLC0415

    try:
        json.loads(text)
    except ValueError as error:
        return f"is not JSON: {error}"
    return f"is not JSON: {fallback}"


def _check_depth(text: str, what: str) -> None:
    """Refuse nesting beyond `MAX_DEPTH` before the scanner recurses into it."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    if _depth(text) > MAX_DEPTH:
        raise _refused(what, f"is nested more than {MAX_DEPTH} deep")


def _depth(text: str) -> int:
    """Return how deep brackets outside strings nest (an upper bound where *text* is not JSON)."""
    deepest = depth = 0
    # Odd parts stand inside strings, once escaped quotes are gone.
    for part in text.replace("\\\\", "").replace('\\"', "").split('"')[::2]:
        for character in part:
            if character in _OPENERS:
                depth += 1
                deepest = max(deepest, depth)
            elif character in _CLOSERS:
                depth -= 1
    return deepest


def _refused(what: str, rule: str) -> CniError:
    return CniError(DECODING_FAILURE, f"the {what} {rule}")
