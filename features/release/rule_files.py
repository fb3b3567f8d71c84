"""Tags, audiences and what triggers read, in a customers part: rules evaluated where the log is, served elsewhere.

features/tags.yaml, audiences.yaml, triggers.yaml (the shop's own; the ready ones where absent)
    ->   tags.parquet, audiences.parquet, rule_events.parquet, item_facts.parquet, triggers.yaml, rules.json
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from features import columns as c
from features.arrow import write_parquet
from features.audiences.build import AudienceRules, audience_rules, build_audiences
from features.build import ITEMS_FILE, FeatureSet
from features.customers.table import CustomerTable
from features.demand.stock import STOCK_FILE
from features.engine import sql_text
from features.files import write_json
from features.release import layout
from features.release.erasure import ErasedUsers
from features.rules.conditions import Rule
from features.rules.known_fields import EVENT_FIELDS
from features.rules.parse import Columns
from features.rules.rows import AT_US
from features.rules.session import RuleSession, columns_at_hand
from features.rules.shop_files import AUDIENCES_FILE, TAGS_FILE, TRIGGERS_FILE
from features.rules.words import in_words
from features.settings import EngineSettings, ShopSettings
from features.tags.build import build_tags, tag_rules
from features.triggers.facts import item_facts
from features.triggers.trigger import ItemFacts, read_triggers

logger = logging.getLogger(__name__)

# One customer's rows lie in one or two groups: what a lookup reads.
ROWS_A_GROUP: Final = 20_480
# No trigger needs to know the device, which may be another customer's too.
_EVENT_COLUMNS: Final = (
    c.USER_ID, c.EVENT_TYPE, AT_US, c.LOCAL_DAY, *(name for name in EVENT_FIELDS if name != c.DEVICE_ID),
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class RuleFiles:
    """Writes the files of one part.

    Args:
        features: where the log, the items and the shop's rules are.
        customers: without those to forget.
        erased: whose rows are left out.
        directory: of the part.
        engine: where rules are computed.
        max_events: the most recent events kept a user.
    """

    features: FeatureSet
    customers: CustomerTable
    erased: ErasedUsers
    directory: Path
    engine: EngineSettings = EngineSettings()
    max_events: int = 1_000

    def write(self, *, previous_tags: Path | None = None) -> None:
        """Write all files.

        Args:
            previous_tags: of an earlier part; a tag that rests on the customer table keeps its earlier since.

        Raises:
            ConfigError: a rule of the shop's is not as it should be.
        """
        shop, columns = self.features.shop, columns_at_hand(self.customers.frame)
        tags = tag_rules(shop, columns, own=self._own(TAGS_FILE))
        audiences = audience_rules(shop, columns, own=self._own(AUDIENCES_FILE))
        self._write_triggers(columns)
        with self._session(c.ANALYTICS) as session:
            self._write_tags(session, tags, previous_tags)
        with self._session(c.PERSONALISATION) as session:
            members = self._known(build_audiences(session, audiences.rules))
            write_parquet(members, self.directory / layout.AUDIENCES)
            self._write_events(session)
            facts = item_facts(session, self._items, stock=self.features.directory / STOCK_FILE)
            rows = [dataclasses.asdict(one) for one in facts.values()]
            as_of_us = session.as_of_us
        names = [field.name for field in dataclasses.fields(ItemFacts)]
        pd.DataFrame(rows, columns=names).to_parquet(self.directory / layout.ITEM_FACTS, index=False)
        sizes = members["audience"].value_counts()
        write_json(self.directory / layout.RULES, _about(shop, as_of_us, tags, audiences, sizes.to_dict()))

    @property
    def _items(self) -> Path:
        return self.features.directory / ITEMS_FILE

    def _session(self, purpose: str) -> Any:
        log, shop = self.features.event_log, self.features.shop
        return RuleSession.open(log, self._items, self.customers, shop=shop, purpose=purpose, engine=self.engine)

    def _own(self, name: str) -> Path | None:
        path = self.features.directory / name
        return path if path.is_file() else None

    def _known(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of those who are not to be forgotten."""
        users = frame[c.USER_ID]
        gone = {user for user in users.unique() if user in self.erased} if len(self.erased) else set()
        return frame[~users.isin(gone)].reset_index(drop=True)

    def _write_tags(self, session: RuleSession, rules: Sequence[Rule], previous: Path | None) -> None:
        before = None if previous is None else pd.read_parquet(previous)
        tags = self._known(build_tags(session, rules, self.customers, previous=before))
        write_parquet(tags, self.directory / layout.TAGS, row_group_size=ROWS_A_GROUP)

    def _write_triggers(self, columns: Columns) -> None:
        own = self._own(TRIGGERS_FILE)
        if own is not None:
            read_triggers(
                own, minor_units=self.features.shop.minor_units, columns=columns
            )  # refused before it is served
            shutil.copyfile(own, self.directory / layout.TRIGGERS)

    def _write_events(self, session: RuleSession) -> None:
        users = session.connection.sql("SELECT DISTINCT user_id FROM rule_rows").fetchall() if len(self.erased) else []
        gone = pd.DataFrame({c.USER_ID: pd.Series([u for (u,) in users if u in self.erased], dtype="str")})
        session.connection.register("rule_erased", gone)
        session.connection.execute(f"""
            COPY (
                SELECT {", ".join(_EVENT_COLUMNS)} FROM rule_rows WHERE user_id NOT IN (FROM rule_erased)
                QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY {AT_US} DESC, event_type, item_id)
                    <= {self.max_events}
                ORDER BY user_id, {AT_US}, event_type, item_id
            ) TO {sql_text(self.directory / layout.RULE_EVENTS)} (FORMAT parquet, ROW_GROUP_SIZE {ROWS_A_GROUP})""")


def _about(
    shop: ShopSettings, as_of_us: int, tags: Sequence[Rule], audiences: AudienceRules, sizes: Mapping[Any, int]
) -> dict[str, Any]:
    return {
        "as_of_us": as_of_us,
        "time_zone": shop.time_zone,
        "minor_units": shop.minor_units,
        "minimum_group": shop.privacy.minimum_group,
        "tags": [_in_text(rule) for rule in tags],
        "audiences": [_in_text(rule) | {"size": int(sizes.get(rule.name, 0))} for rule in audiences.rules],
        "audiences_with_parameters": [{"name": name, **texts} for name, texts in audiences.open.items()],
    }


def _in_text(rule: Rule) -> dict[str, Any]:
    texts = {"name": rule.name, "title": rule.title, "description": rule.description, "version": rule.version}
    return texts | {"rule": in_words(rule.when)}
