"""What a customers part holds beside profiles: tags, audiences, and what triggers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from features.files import read_json
from features.intent.fit import PurchaseIntent
from features.release import Part, layout
from features.rules.parse import Columns
from features.rules.session import columns_at_hand
from features.triggers.trigger import LIBRARY, ItemFacts, Trigger, read_triggers
from serving.customers.audiences import AudienceBook, RuleCounter
from serving.customers.book import CustomerBook
from serving.customers.item_facts import FactTable
from serving.customers.tags import TagBook
from serving.customers.user_rows import UserRows
from serving.history.stored import UserEvents
from serving.surfaces.clock import Clock


@dataclass(frozen=True, kw_only=True, eq=False)
class RuleBook:
    """Tags, audiences and triggers of one customers part.

    Args:
        tags: who carries which.
        audiences: who is in which.
        counter: counts rules over the customer table.
        triggers: the shop's.
        events: the last events of each customer that may serve personalisation, with all their fields.
        facts: of the items when the part was made.
        columns: how the customer table's columns are compared.
        zone: the shop's.
        as_of_us: the instant that all of it describes, UTC microseconds.
        intent: of a visit that is under way; ``None`` in a part that was made before there was one.
    """

    tags: TagBook
    audiences: AudienceBook
    counter: RuleCounter
    triggers: tuple[Trigger, ...]
    events: UserRows
    facts: Mapping[str, ItemFacts]
    columns: Columns
    zone: ZoneInfo
    as_of_us: int
    intent: PurchaseIntent | None = None

    @classmethod
    def load(cls, part: Part, book: CustomerBook) -> RuleBook | None:
        """Read a customers part; ``None`` where it was made before there were rules in it."""
        if layout.RULES not in part.files:
            return None
        about = read_json(part.path(layout.RULES))
        columns = columns_at_hand(book.rows.schema.empty_table().to_pandas(date_as_object=False))
        tags = TagBook.load(part.path(layout.TAGS), titles={one["name"]: one["title"] for one in about["tags"]})
        minor_units, minimum = int(about["minor_units"]), int(about["minimum_group"])
        own = part.path(layout.TRIGGERS) if layout.TRIGGERS in part.files else LIBRARY
        return cls(
            tags=tags,
            audiences=AudienceBook.load(part.path(layout.AUDIENCES), about),
            counter=RuleCounter(book=book, tags=tags, columns=columns, minor_units=minor_units, minimum=minimum),
            triggers=read_triggers(own, minor_units=minor_units, columns=columns),
            events=UserRows(part.path(layout.RULE_EVENTS)),
            facts=FactTable.load(part.path(layout.ITEM_FACTS)),
            columns=columns,
            zone=ZoneInfo(about["time_zone"]),
            as_of_us=int(about["as_of_us"]),
            intent=PurchaseIntent.load(part.path(layout.INTENT)) if layout.INTENT in part.files else None,
        )

    def now_us(self, wall: Callable[[], int], *, newest_us: int = 0) -> int:
        """Return the present; over old data the instant where they end, and not before the newest event sent here."""
        now = Clock(as_of_us=self.as_of_us, wall=wall).now_us(UserEvents.from_rows([]))
        return max(now, newest_us)

    def age_seconds(self, now_us: int) -> int:
        """Return how long ago the part's instant was."""
        return max(0, (now_us - self.as_of_us) // 1_000_000)
