"""The page toolkit: templates, and how figures are written in words."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.files import write_bytes

KIT: Final = Path(__file__).parent  # holds base.html, macros.html and style.css


def render(template: Path, **context: Any) -> str:
    """Return a page; text is escaped, a name that is missing is an error.

    Args:
        template: extends the kit's ``base.html`` and may include files that stand beside it.
        context: the names that it uses.
    """
    return _environment(template.parent).get_template(template.name).render(**context)


def write_page(path: Path, template: Path, **context: Any) -> None:
    """Render a page and write it, whole or not at all."""
    write_bytes(path, render(template, **context).encode())


def percent(share: float, digits: int = 1) -> str:
    """Return a share as percent.

    >>> percent(0.0719)
    '7.2%'
    """
    return f"{100 * share:.{digits}f}%"


def points(share: float, digits: int = 1) -> str:
    """Return a difference of shares in percentage points, signed, with a true minus.

    >>> points(-0.0123)
    '−1.2'
    """
    return signed(100 * share, digits)


def per_thousand(share: float) -> str:
    """Return a rate per 1,000.

    >>> per_thousand(0.02966)
    '29.7'
    """
    return f"{1000 * share:.1f}"


def digits_for(share: float) -> int:
    """Return how many decimals a percentage of this size needs for two significant digits, at most 2.

    >>> [digits_for(share) for share in (0.25, 0.07, 0.004)]
    [1, 1, 2]
    """
    return 1 if share >= 0.01 else 2


def number(value: float) -> str:
    """Return a number with thousands set apart; whole numbers without decimals.

    >>> number(12345), number(0.5), number(12.34)
    ('12,345', '0.50', '12.3')
    """
    if float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, a true minus.

    >>> signed(-0.0273), signed(0.2), signed(-0.0001)
    ('−0.027', '+0.200', '0.000')
    """
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if text.strip("+−0.") else text[1:]


def when(instant_us: int) -> str:
    """Return a UTC instant in microseconds as date and time.

    >>> when(1_700_000_000_000_000)
    '14 Nov 2023, 22:13 UTC'
    """
    at = dt.datetime.fromtimestamp(instant_us / 1e6, dt.UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def _environment(directory: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([directory, KIT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "number": number, "signed": signed, "when": when}
    environment.filters["per_thousand"] = per_thousand
    environment.globals["digits_for"] = digits_for
    return environment
