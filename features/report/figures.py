"""Figures as inline SVG: real text, a title and a description for screen readers, colours of the page.

Drawn narrow (a phone's width) so that text stays readable where the page is narrow. Ink and grid are
drawn in marker colours that become CSS variables, so that one drawing suits a light and a dark page.
"""

from __future__ import annotations

import io
import re
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

WIDTH_INCHES: Final = 4.6
_SIDE_INCHES: Final = 0.14  # browsers set the last tick's label in wider letters than the layout reckons with
_INK, _MUTED, _GRID, _GROUND = "#010203", "#040506", "#070809", "#0a0b0c"
_VARIABLES: Final = {_INK: "--ink", _MUTED: "--muted", _GRID: "--line", _GROUND: "--panel"}
# Wong 2011, "Points of view: color blindness", Nature Methods 8:441; black and yellow left out, as they
# vanish on a dark and on a light page.
# Brown and grey stand in for them.
PALETTE: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8A6F5A", "#7A8288")
# One more than there are colours, so that a colour comes back with another marker.
MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X", "*", "p")
_STYLE: Final[Any] = {  # matplotlib types its settings name by name
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "text.color": _INK,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "savefig.transparent": True,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How one series is drawn: its colour and marker say the same, so that colour alone is never needed."""

    color: str
    marker: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Return a look a name, the same for the same position in every figure of a page."""
    return {
        name: Look(color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)])
        for index, name in enumerate(names)
    }


@contextmanager
def drawing(height_inches: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield an empty figure of the page's width in the page's style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout=ConstrainedLayoutEngine(w_pad=_SIDE_INCHES))
        yield figure, figure.add_subplot()


def to_svg(figure: Figure, *, title: str, description: str) -> Markup:
    """Return the figure as an inline SVG element.

    Args:
        figure: drawn under ``drawing``.
        title: read out first, and shown on hover.
        description: what the figure shows, in a sentence with its main figures.
    """
    with mpl.rc_context(_STYLE | {"svg.hashsalt": title}):
        buffer = io.StringIO()
        wide_words = _stand_ins(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = _unique_ids(text)
    for stand_in, words in wide_words.items():
        text = text.replace(f">{stand_in}<", f">{escape(words)}<")
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    attributes = f'<svg role="img" aria-label="{escape(title, quote=True)}"'
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    body = text[text.index(">") + 1 :]
    head = f'{attributes} {box.group()} xmlns:xlink="http://www.w3.org/1999/xlink">'
    # Safe: matplotlib escapes the text it draws, and we the rest.
    return Markup(f"{head}<title>{escape(title)}</title><desc>{escape(description)}</desc>{body}")  # noqa: S704


def _stand_ins(figure: Figure) -> dict[str, str]:
    """Put letters of known width where words hold such as matplotlib's font lacks; return what each stands for.

    The browser has the letters; the layout needs their width: a Chinese one is about as wide as a W.
    """
    found: dict[str, str] = {}

    def stand_in(words: str) -> str:
        if not any(unicodedata.east_asian_width(letter) in "WF" for letter in words):
            return words
        width = sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in words)
        name = f"{'W' * max(1, round(width - 2))}{len(found):03d}"  # three digits are two letters wide
        found[name] = words
        return name

    def lines(words: str) -> str:
        return "\n".join(map(stand_in, words.split("\n")))

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            names = [label.get_text() for label in axis.get_majorticklabels()]
            if list(map(lines, names)) != names:  # an axis writes its labels anew when it is drawn
                axis.set_major_formatter(FixedFormatter(list(map(lines, names))))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(lines(text.get_text()))
    return found


def _unique_ids(svg: str) -> str:
    """Prefix ids, which would clash between the figures of one page."""
    prefix = f"f{uuid.uuid5(uuid.NAMESPACE_OID, svg).hex[:8]}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = svg.replace('xlink:href="#', f'href="#{prefix}')
    return svg.replace("url(#", f"url(#{prefix}")
