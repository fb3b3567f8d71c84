"""The sections about who comes back and about heat: a small shop whose answers are planted."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from features.errors import ConfigError
from features.insight.heat import section as heat_section
from features.insight.inputs import Inputs, Period
from features.insight.retention import section as retention_section
from features.report.sections import NothingToShow, Section
from features.report.words import Words
from features.settings import PrivacySettings, ShopSettings
from tests.features.insight.insight_events import day, log

CHEAP, DEAR, RISING = "i0", "i1", "i2"
ITEMS = pa.table(
    {
        "item_id": [CHEAP, DEAR, RISING],
        "title": ["Cup", "Vase", "Rug"],
        "category": ["home"] * 3,
        "price": [100, 900, 500],
    }
)
_LAST = 69


def _rows() -> list[tuple[Any, ...]]:
    """Sixty customers: half come each week, half only once; they look at vases and buy cups; rugs rise at the end."""
    draw = random.Random(2)
    rows: list[tuple[Any, ...]] = []
    for number in range(60):
        user, first = f"u{number:02}", number % 7
        for week in range(10 if number % 2 else 1):
            at, minute = first + 7 * week, draw.randrange(8 * 60, 20 * 60)
            rows += [(user, "view", at, minute + step, DEAR) for step in (0, 1, 2)]
            rows += [(user, "view", at, minute + 3, CHEAP), (user, "purchase", at, minute + 30, CHEAP)]
            if week >= 6:
                rows += [(user, "view", at, minute + 40, RISING), (user, "purchase", at, minute + 50, RISING)]
    return rows


def _inputs(connection: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]], **more: Any) -> Inputs:
    events = log(rows)
    empty = {name: pa.nulls(len(rows), pa.int64()) for name in ("dwell_ms", "quantity")}
    for name, values in empty.items():
        events = events.append_column(name, values)
    period = Period(first_day=day(0), last_day=day(_LAST))
    return Inputs(
        connection=connection,
        log=connection.from_arrow(events),
        period=period,
        last_at_us=int(dt.datetime.combine(day(_LAST), dt.time(22), dt.UTC).timestamp()) * 1_000_000,
        items=connection.from_arrow(ITEMS),
        shop=ShopSettings(num_price_bands=3),
        **more,
    )


def _made(module: Any, inputs: Inputs, language: Any = "en") -> dict[str, Section]:
    words = Words.load(language, Path(module.__file__).parent)
    return {section.name: section for section in module.sections(inputs, words)}


def test_retention_sections_when_half_come_each_week_then_titles_say_so(connection: duckdb.DuckDBPyConnection) -> None:
    found = _made(retention_section, _inputs(connection, _rows()))
    assert found["retention"].title == "Half of new customers are back in the week after"
    assert "50.0% (37.7% to 62.3%) of 60 customers" in found["retention"].finding
    # The first week has all 60; of the second on, 30 return and 30 are dormant in the second alone.
    assert found["growth"].tables["growth"]["dormant"].tolist()[:3] == [0, 30, 0]
    assert found["repurchase"].title == "Half of first-time buyers buy again within 7 days"
    assert found["repurchase"].tables["categories"]["within_7"].tolist() == [0.5]


def test_heat_sections_when_dear_is_looked_at_and_cheap_is_bought_then_titles_say_so(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    alone = {"heat": {"movers": {"relative": False}}}
    found = _made(heat_section, _inputs(connection, _rows(), definitions=alone))
    assert list(found) == ["hours", "movers", "prices", "waits"]
    assert found["movers"].title == "1 rise and 0 fall by more than chance"
    assert found["movers"].listed[0].rows[0][:2] == ["Rug (i2)", "rises"]
    # 330 visits with three looks at the vase and one at the cup, 120 of them with one at the rug: 990 of 1,440 looks.
    assert found["prices"].title == "Price band 3 of 3 is 68.8% of browsing, but only 0.0% of buying"
    assert found["waits"].title == "Half of what is bought within 30 days of a first look is bought within 27 min"
    assert [row[0] for row in found["waits"].listed[0].rows] == ["The shop", "home"]


def test_heat_sections_when_the_period_begins_within_the_log_then_what_came_before_counts(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = [(f"u{n:02}", kind, at, 0, item) for n in range(20) for at, kind, item in [
        *[(week * 7, "purchase", RISING) for week in range(8)], (20, "view", DEAR), (40, "view", DEAR), (41, "purchase", DEAR),
    ]]  # fmt: skip
    late = dataclasses.replace(_inputs(connection, rows), period=Period(first_day=day(28), last_day=day(55)))
    found = _made(heat_section, late)
    # The log goes on, so that the last day is over; the rug is bought as often in the four weeks before.
    assert found["movers"].tables["movers"].set_index("value").loc[RISING, ["before", "now"]].tolist() == [80, 80]
    # The vase was first looked at before the period; the rug is bought unseen, but not for the first time.
    assert "waits" not in found
    # Fifty-five days are not two periods of four weeks; nor is a log that ends with the period over on its last day.
    early = dataclasses.replace(late, period=Period(first_day=day(28), last_day=day(54)))
    ended = dataclasses.replace(late, last_at_us=late.instants(late.period)[1] - 1)
    for short in (early, ended):
        movers = _made(heat_section, short)["movers"]
        assert movers.title == "Nothing to compare yet: what rises and falls shows in 56 whole days"
        assert list(movers.tables) == ["hot"]


@pytest.mark.parametrize("module", [retention_section, heat_section])
def test_sections_when_written_in_chinese_then_they_are_the_same_ones(
    module: Any, connection: duckdb.DuckDBPyConnection
) -> None:
    compared = Period(first_day=day(-70), last_day=day(-1))
    inputs = _inputs(connection, _rows(), compared=compared)
    assert list(_made(module, inputs, "zh")) == list(_made(module, inputs))


def test_sections_when_groups_are_small_then_their_figures_are_hidden(connection: duckdb.DuckDBPyConnection) -> None:
    late = [("late", "view", 14, 0, DEAR), ("late", "purchase", 14, 9, DEAR), ("late", "view", 22, 0, DEAR)]
    found = _made(retention_section, _inputs(connection, _rows() + late))
    cohorts = found["retention"].tables["cohorts"].set_index("cohort")
    assert cohorts.loc[[day(14).isoformat()], "returned"].isna().all()  # a cohort of one
    assert cohorts["customers"].isna().all()  # and the other, which the total would give away with it


def test_retention_sections_when_few_are_behind_a_figure_then_it_is_not_told(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    # Four from the first week, eight from the fourth, three from the eighth; each comes in each of its weeks.
    weeks = {f"u{n:02}": range(0 if n < 4 else 3, 8) for n in range(12)} | {f"v{n}": range(7, 9) for n in range(3)}
    kinds = ("view", "purchase")
    rows = [(user, kind, week * 7, 0, CHEAP) for user, of in weeks.items() for week in of for kind in kinds]
    rows += [("v0", "purchase", 50, 0, CHEAP), ("u00", "purchase", 1, 0, CHEAP)]
    rows += [("w0", "view", 30, 0, CHEAP)]  # alone on its day, and no buyer
    inputs = dataclasses.replace(_inputs(connection, rows), shop=ShopSettings(privacy=PrivacySettings(minimum_group=5)))
    found = _made(retention_section, inputs)
    curve = found["retention"].tables["curve"]
    assert curve["observed"].fillna(0).tolist() == [16, 13, 13, 13, 12, 0, 0, 0, 0]  # then four
    sticky = found["growth"].tables["stickiness"].set_index("day")
    assert pd.isna(sticky.loc[day(30).isoformat(), ["dau", "dau_wau", "dau_mau_high"]]).all()
    assert sticky.loc[day(28).isoformat(), "dau"] == 12
    again = found["repurchase"].tables["curve"]
    assert again[["t", "came"]].to_numpy().tolist() == [[7, 15]]  # not the one or two who bought on the next day


def test_retention_sections_when_cut_by_channel_then_small_ones_are_not_named(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = _rows()
    channels = {"u00": "secret", "u01": "mine", **{f"u{n:02}": "web" for n in range(2, 60)}}
    asked = {"retention": {"table": {"by": "channel", "cohorts": "all"}}}
    inputs = _inputs(connection, rows, definitions=asked)
    log_of = inputs.log.to_arrow_table().append_column("channel", pa.array([channels[row[0]] for row in rows]))
    found = _made(retention_section, dataclasses.replace(inputs, log=connection.from_arrow(log_of)))
    cohorts = found["retention"].tables["cohorts"]
    assert sorted(set(cohorts["value"])) == ["(other)", "web"]
    assert cohorts["customers"].isna().all()  # two are few, and the total would give them away


def test_retention_sections_when_the_log_goes_on_then_the_last_week_of_the_period_is_over(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    early = dataclasses.replace(_inputs(connection, _rows()), period=Period(first_day=day(0), last_day=day(13)))
    found = _made(retention_section, early)
    assert found["retention"].tables["cohorts"]["observed"].tolist() == [60]
    assert found["growth"].tables["growth"]["complete"].tolist() == [True, True]
    assert found["growth"].tables["stickiness"]["complete"].all()


def test_retention_sections_when_unbounded_then_all_cohorts_are_followed_for_as_long(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    asked = {"retention": {"table": {"mode": "unbounded"}}}
    found = _made(retention_section, _inputs(connection, _rows(), definitions=asked))["retention"]
    assert found.tables["cohorts"]["period"].max() == 4  # half of the nine weeks after the first
    assert "Returns count to the end of period 4 after the first, for all alike" in found.notes[0]


def test_sections_when_there_is_nothing_then_the_reason_is_given(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(NothingToShow, match="who comes back, since"):
        _made(retention_section, _inputs(connection, [("ann", "view", _LAST, 0, DEAR)]))
    with pytest.raises(NothingToShow, match="since nobody bought"):
        _made(heat_section, _inputs(connection, [("ann", "view", 0, 0, DEAR)]))


def test_sections_when_the_shop_asks_wrongly_then_says_where(connection: duckdb.DuckDBPyConnection) -> None:
    asked = _inputs(connection, _rows(), definitions={"retention": {"table": {"mode": "brackets"}}})
    with pytest.raises(ConfigError, match=r"retention\.table\.mode: expected one of .* Did you mean 'bracket'"):
        _made(retention_section, asked)
    asked = _inputs(connection, _rows(), definitions={"heat": {"movers": {"by": "brand"}}})
    with pytest.raises(ConfigError, match=r"heat\.movers\.by: expected one of"):
        _made(heat_section, asked)
    with pytest.raises(ConfigError, match="heat: expected a mapping of movers, hot, found list"):
        _made(heat_section, _inputs(connection, _rows(), definitions={"heat": [1]}))
