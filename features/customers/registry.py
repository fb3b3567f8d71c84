"""All parts of the customer table, in the order of its columns.

A new part is a ``Part`` in a module of its own and one line here; nothing else has to know of it.
"""

from __future__ import annotations

from typing import Final

from features.customers.basics import BASICS
from features.customers.loyalty.part import LOYALTY
from features.customers.parts import CustomerColumn, Part
from features.customers.profile import PROFILE
from features.customers.value.part import VALUE

PARTS: Final[tuple[Part, ...]] = (
    *BASICS,
    *PROFILE,
    *LOYALTY,
    *VALUE,
)
COLUMNS: Final[dict[str, CustomerColumn]] = {column.name: column for part in PARTS for column in part.columns}
