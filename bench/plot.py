"""One plot, docs/backends.svg: what each backend reaches of the bare underlay, as bars.

In: by backend, by what was measured, the ratio of pods to underlay. CPU is drawn as the others are,
so there a longer bar is worse, which its label says. Plain SVG, written by hand: it is fifty bars.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

PLOT = Path(__file__).parent.parent / "docs" / "backends.svg"
_COLOURS = ("#4c72b0", "#55a868", "#c44e52", "#8172b2", "#ccb974", "#64b5cd")
_LEFT, _BAR, _GAP, _SCALE = 210, 14, 14, 380
_MOST = 1.2


def write(ratios: Mapping[str, Mapping[str, float]]) -> None:
    """Replace the plot."""
    PLOT.write_text(render(ratios))


def render(ratios: Mapping[str, Mapping[str, float]]) -> str:
    """Return the plot of *ratios*: by backend, by what was measured."""
    kinds = list(dict.fromkeys(kind for values in ratios.values() for kind in values))
    group = _BAR * len(ratios) + _GAP
    height = 60 + group * len(kinds)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _SCALE + 80}" '
            f'height="{height}" font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        *_legend(list(ratios)),
    ]
    for number, kind in enumerate(kinds):
        top = 40 + group * number
        lines.append(_text(_LEFT - 8, top + group / 2 - 2, _label(kind), "end"))
        lines += _bars(ratios, kind, top)
    one = _LEFT + _SCALE / _MOST
    lines.append(
        f'<line x1="{one:.0f}" x2="{one:.0f}" y1="34" y2="{height - 20}" stroke="black" '
        'stroke-dasharray="4 3"/>'
    )
    lines.append(_text(one, height - 6, "1.0: as the bare underlay", "middle"))
    return "\n".join([*lines, "</svg>", ""])


def _label(kind: str) -> str:
    return f"{kind} (less is better)" if kind.startswith("CPU") else kind


def _legend(backends: list[str]) -> Iterator[str]:
    for number, backend in enumerate(backends):
        left = _LEFT + number * 85
        yield f'<rect x="{left}" y="10" width="10" height="10" fill="{_COLOURS[number]}"/>'
        yield _text(left + 14, 20, backend, "start")


def _bars(ratios: Mapping[str, Mapping[str, float]], kind: str, top: float) -> Iterator[str]:
    for number, values in enumerate(ratios.values()):
        ratio = values.get(kind)
        if ratio is None:
            continue
        width = min(ratio, _MOST) / _MOST * _SCALE
        y = top + number * _BAR
        yield (
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" '
            f'fill="{_COLOURS[number]}"/>'
        )
        yield _text(_LEFT + width + 4, y + _BAR - 3, f"{ratio:.2f}", "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
