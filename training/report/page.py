"""The page toolkit: templates, and how figures are written in words."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.files import write_bytes

_METRIC_NAMES: Final = {
    "recall": "Recall@{k}",
    "capped_recall": "Recall, capped at {k}",
    "hit_rate": "Hit rate@{k}",
    "ndcg": "NDCG@{k}",
    "mrr": "MRR@{k}",
    "coverage": "Coverage@{k}",
    "novelty": "Novelty@{k}, bits",
    "mean_popularity": "Events of a shown item, first {k}",
    "diversity": "Diversity@{k}",
    "popularity_percentile": "Popularity percentile@{k}",
    "popularity_lift": "Popularity lift@{k}",
    "gini": "Gini@{k}",
    "calibration_kl": "Miscalibration@{k}, nats",
}


def render(template: str, **context: Any) -> str:
    """Return a page made from a template of this directory; text is escaped, a name that is missing is an error."""
    return _environment().get_template(template).render(**context)


def write_page(path: Path, template: str, **context: Any) -> None:
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


def metric_name(key: str) -> str:
    """Return what people call a metric; a key that is unknown stays as it is.

    >>> metric_name("capped_recall@20"), metric_name("validation_ndcg@10"), metric_name("loss")
    ('Recall, capped at 20', 'NDCG@10', 'loss')
    """
    found = re.fullmatch(r"(?:validation_)?([a-z_]+)@(\d+)", key)
    if found is None or found[1] not in _METRIC_NAMES:
        return key
    return _METRIC_NAMES[found[1]].format(k=found[2])


def when(instant_us: int) -> str:
    """Return a UTC instant in microseconds as date and time.

    >>> when(1_700_000_000_000_000)
    '14 Nov 2023, 22:13 UTC'
    """
    at = dt.datetime.fromtimestamp(instant_us / 1e6, dt.UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "number": number, "signed": signed, "when": when}
    environment.filters |= {"metric_name": metric_name, "per_thousand": per_thousand}
    environment.globals["digits_for"] = digits_for
    return environment
