"""From YAML to typed rules, with errors that say where, what was expected, what was found and what to do.

rules:
  summer_fruit:
    title: Fruit in summer
    when: {surface: for_you, since: 2026-06-01, until: 2026-08-31, hours: [7, 11]}
    boost: {category: food/fruit, by: 0.2}
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

from features.errors import did_you_mean
from features.rules.conditions import is_behavioural
from features.rules.parse import RuleParser
from features.rules.place import Place, mapping, number, only, read_yaml, text
from serving.api.schemas import Surface
from serving.merchandising.rules import (
    EFFECTS,
    Ban,
    Boost,
    Cap,
    Diversity,
    Edge,
    Effect,
    Filter,
    Freshness,
    ItemMatch,
    Pin,
    Rule,
    RuleSet,
    When,
)

SURFACES: Final[tuple[str, ...]] = get_args(Surface)
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SECTION: Final = "rules"
_WHEN: Final = (
    "surface", "since", "until", "weekday", "hours", "region", "tag", "stage", "audience", "customer",
)  # fmt: skip
_ITEMS: Final = ("items", "category", "brand", "label", "min_price", "max_price", "max_age_days")
_FILTER: Final = (*_ITEMS, "in_stock", "region", "not_seen_days", "not_purchased_days")
_MOST_PLACES: Final = 1000
_MOST_RULES: Final = 500


def read_rule_set(path: Path) -> RuleSet:
    """Read a file of rules.

    Raises:
        ConfigError: the file is missing, no YAML, or a rule is not as it should be.
    """
    path = Path(path)
    values = read_yaml(path)
    place = Place(file=str(path))
    return RuleSet(
        rules=parse_rules(values, place), version=hashlib.sha256(path.read_bytes()).hexdigest()[:12], source=str(path)
    )


def parse_rules(values: Any, place: Place) -> tuple[Rule, ...]:
    """Parse what a file of rules holds.

    Raises:
        ConfigError: something is not as the language has it.
    """
    only(mapping({} if values is None else values, place), (_SECTION,), place)
    listed = mapping((values or {}).get(_SECTION) or {}, place.at(_SECTION))
    if len(listed) > _MOST_RULES:
        raise place.error(f"at most {_MOST_RULES} rules", len(listed))
    return tuple(_rule(str(name), one, Place(file=place.file, rule=str(name))) for name, one in listed.items())


def _rule(name: str, values: Any, place: Place) -> Rule:
    keys = mapping(values, place)
    only(keys, ("title", "when", *EFFECTS), place)
    found = [key for key in EFFECTS if key in keys]
    if len(found) != 1:
        raise place.error(f"one effect of {', '.join(EFFECTS)}", found or "none", " Write a rule for each.")
    effect = found[0]
    return Rule(
        name=name,
        title=text(keys.get("title", ""), place.at("title")),
        when=_when(keys.get("when") or {}, place.at("when")),
        effect=_PARSERS[effect](keys[effect], place.at(effect)),
    )


def _when(values: Any, place: Place) -> When:
    keys = mapping(values, place)
    only(keys, _WHEN, place)
    found = When(
        surfaces=parse_surfaces(keys.get("surface"), place.at("surface")),
        since=_edge(keys.get("since"), place.at("since")),
        until=_edge(keys.get("until"), place.at("until")),
        weekdays=tuple(WEEKDAYS.index(day) for day in _words(keys.get("weekday"), WEEKDAYS, place.at("weekday"))),
        hours=_hours(keys.get("hours"), place.at("hours")),
        regions=_texts(keys.get("region"), place.at("region")),
        tags=_texts(keys.get("tag"), place.at("tag")),
        stages=_texts(keys.get("stage"), place.at("stage")),
        audiences=_texts(keys.get("audience"), place.at("audience")),
        customer=_customer(keys.get("customer"), place.at("customer")),
    )
    if found.since is not None and found.until is not None and _as_instant(found.since) > _as_instant(found.until):
        raise place.error("since to be before until", f"{found.since} and {found.until}", " It would never hold.")
    return found


def parse_surfaces(values: Any, place: Place) -> tuple[Surface, ...]:
    """Return one surface or several; none where nothing is said."""
    return cast("tuple[Surface, ...]", _words(values, SURFACES, place))


def _customer(values: Any, place: Place) -> Mapping[str, Any]:
    """Check the form of a condition on the customer table; its columns are known where a release is at hand."""
    if values is None:
        return {}
    if is_behavioural(RuleParser().condition(values, place)):
        raise place.error("conditions on columns", "events or orders", " Make a tag of them in tags.yaml and name it.")
    return dict(values)


def _items(values: Any, place: Place, *more_keys: str, needed: bool = True) -> ItemMatch:
    keys = mapping(values, place)
    only(keys, (*_ITEMS, *more_keys), place)
    if needed and not any(key in keys for key in _ITEMS):
        raise place.error(f"items by one or more of {', '.join(_ITEMS)}", list(keys))
    low, high, age = (
        number(keys[key], place.at(key), least=0) if key in keys else None
        for key in ("min_price", "max_price", "max_age_days")
    )
    if low is not None and high is not None and low > high:
        raise place.error("min_price to be at most max_price", f"{low:g} and {high:g}", " It would match nothing.")
    return ItemMatch(
        items=_texts(keys.get("items"), place.at("items")),
        category=tuple(path.strip("/") for path in _texts(keys.get("category"), place.at("category"))),
        brand=_texts(keys.get("brand"), place.at("brand")),
        label=_texts(keys.get("label"), place.at("label")),
        min_price=low,
        max_price=high,
        max_age_days=age,
    )


def _filter(values: Any, place: Place) -> Effect:
    keys = mapping(values, place)
    if not keys:
        raise place.error(f"one or more of {', '.join(_FILTER)}", "none")
    days = {
        key: _whole(keys[key], place.at(key), most=3660) for key in ("not_seen_days", "not_purchased_days") if key in keys
    }  # fmt: skip
    if not isinstance(keys.get("in_stock", False), bool):
        raise place.at("in_stock").error("true or false", keys["in_stock"])
    return Filter(
        items=_items(values, place, *_FILTER, needed=False),
        in_stock=keys.get("in_stock", False),
        region=text(keys.get("region", ""), place.at("region")),
        **days,
    )


def _ban(values: Any, place: Place) -> Effect:
    return Ban(items=_items(values, place))


def _pin(values: Any, place: Place) -> Effect:
    places = {
        str(item): _whole(at, place.at(str(item)), most=_MOST_PLACES) for item, at in mapping(values, place).items()
    }
    if not places:
        raise place.error("items and their places, such as {item-3: 1}", "none")
    if len(set(places.values())) < len(places):
        raise place.error("one item a place", values)
    return Pin(places=places)


def _boost(values: Any, place: Place, *, sign: int = 1) -> Effect:
    keys = mapping(values, place)
    if "by" not in keys:
        raise place.error("'by', the share of the ranked items that these pass", list(keys), " 0.2 suits most.")
    by = number(keys["by"], place.at("by"), least=0, most=1)
    return Boost(items=_items(keys, place, "by"), by=sign * by)


def _bury(values: Any, place: Place) -> Effect:
    return _boost(values, place, sign=-1)


def _freshness(values: Any, place: Place) -> Effect:
    keys = mapping(values, place)
    only(keys, ("by", "half_life_days"), place)
    return Freshness(
        by=number(keys.get("by", 0.2), place.at("by"), least=0, most=1),
        half_life_days=number(keys.get("half_life_days", 14), place.at("half_life_days"), least=0, above=True),
    )


def _diversity(value: Any, place: Place) -> Effect:
    return Diversity(strength=number(value, place, least=0, most=1))


def _cap(values: Any, place: Place) -> Effect:
    keys = mapping(values, place)
    only(keys, ("of", "most", "level", "first"), place)
    if keys.get("of") not in ("category", "brand"):
        raise place.at("of").error("category or brand", keys.get("of"))
    if keys["of"] == "brand" and "level" in keys:
        raise place.at("level").error("a level with of: category only", keys["level"])
    if "most" not in keys:
        raise place.error("'most', how many of one there may be", list(keys))
    first = _whole(keys["first"], place.at("first"), most=_MOST_PLACES) if "first" in keys else 0
    most = _whole(keys["most"], place.at("most"), most=_MOST_PLACES)
    if first and most >= first:
        raise place.error("most to be less than first", f"{most} and {first}", " It would never do anything.")
    level = _whole(keys["level"], place.at("level"), most=20) if "level" in keys else 0
    return Cap(of=keys["of"], most=most, level=level, first=first)


_PARSERS: Final[dict[str, Callable[[Any, Place], Effect]]] = {
    "filter": _filter,
    "ban": _ban,
    "pin": _pin,
    "boost": _boost,
    "bury": _bury,
    "freshness": _freshness,
    "diversity": _diversity,
    "cap": _cap,
}


def _texts(values: Any, place: Place) -> tuple[str, ...]:
    """Return one text or several as a tuple."""
    listed = [] if values is None else values if isinstance(values, list) else [values]
    if values is not None and not listed:
        raise place.error("one text or several", values)
    return tuple(dict.fromkeys(text(one, place) for one in listed))


def _words(values: Any, known: tuple[str, ...], place: Place) -> tuple[str, ...]:
    for word in (found := _texts(values, place)):
        if word not in known:
            hint = did_you_mean(word, known)
            raise place.error(f"one of {', '.join(known)}", word, hint)
    return found


def _hours(values: Any, place: Place) -> tuple[int, ...]:
    """Return the hours of a span such as ``[22, 2]``: 22, 23, 0 and 1."""
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) != 2:
        raise place.error("two hours, such as [7, 11] for 7:00 to 10:59", values)
    begin, end = (_whole(one, place, least=0, most=24) for one in values)
    if begin % 24 == end % 24:
        raise place.error("two hours that differ", values)
    return tuple(sorted(hour % 24 for hour in range(begin, end if end > begin else end + 24)))


def _edge(value: Any, place: Place) -> Edge | None:
    """Return a day, or an instant with its offset."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = dt.date.fromisoformat(value) if len(value) == 10 else dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        raise place.error("an offset, such as 2026-11-27T08:00:00+01:00", str(value), " Or give the day alone.")
    if value is not None and not isinstance(value, dt.date):
        raise place.error("a day such as 2026-11-27, or an instant", value)
    return value


def _as_instant(edge: Edge) -> dt.datetime:
    return edge if isinstance(edge, dt.datetime) else dt.datetime.combine(edge, dt.time(), tzinfo=dt.UTC)


def _whole(value: Any, place: Place, *, most: int, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise place.error(f"a whole number from {least} to {most}", value)
    return value
