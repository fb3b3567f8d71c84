"""From YAML to typed experiments, with errors that say where, what was expected, what was found and what to do.

holdout: {share: 0.05}
experiments:
  home_diversity:
    surface: for_you
    share: 0.5
    since: 2026-12-01T00:00:00+01:00
    variants:
      control: {}
      diverse: {weight: 0.5, defaults: {diversity: 0.3}}
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from features.errors import ConfigError
from features.rules.place import Place, choice, mapping, number, only, read_yaml, text
from features.settings import REPEATS
from serving.experiments.experiment import HOLDOUT, NUM_BUCKETS, Experiment, ExperimentSet, Layer, Variant
from serving.experiments.explore import Explore
from serving.merchandising.parse import parse_surfaces, read_rule_set

_TOP: Final = ("experiments", "holdout")
_KEYS: Final = ("title", "salt", "layer", "share", "buckets", "surface", "since", "until", "variants")
_VARIANT: Final = ("weight", "release", "rules", "explore", "defaults")
_DEFAULTS: Final = ("repeat", "diversity")
_EXPLORE: Final = ("half_life", "epsilon", "candidates")
CURRENT: Final = "current"
_MOST_CANDIDATES: Final = 200
_ROUNDING: Final = 1e-9


def read_experiments(path: Path) -> ExperimentSet:
    """Read a file of experiments, and the files of rules that it names, which stand beside it.

    Raises:
        ConfigError: a file is missing, no YAML, or an experiment is not as it should be.
    """
    path = Path(path)
    found = parse_experiments(read_yaml(path), Place(file=str(path)), beside=path.parent)
    digest = hashlib.sha256(path.read_bytes())
    for variant in (one for layer in found.layers for test in layer.experiments for one in test.variants):
        digest.update(variant.rules.version.encode() if variant.rules else b"-")
    return ExperimentSet(
        layers=found.layers, holdout=found.holdout, holdout_salt=found.holdout_salt,
        version=digest.hexdigest()[:12], source=str(path),
    )  # fmt: skip


def parse_experiments(values: Any, place: Place, *, beside: Path) -> ExperimentSet:
    """Parse what a file of experiments holds.

    Args:
        values: of the file.
        place: for errors.
        beside: directory that files of rules are named from.

    Raises:
        ConfigError: something is not as it should be.
    """
    keys = mapping({} if values is None else values, place)
    only(keys, _TOP, place)
    held = mapping(keys.get("holdout") or {}, place.at("holdout"))
    only(held, ("share", "salt"), place.at("holdout"))
    layers: dict[str, list[tuple[bool, Experiment]]] = {}  # whether it says its buckets
    for name, one in mapping(keys.get("experiments") or {}, place.at("experiments")).items():
        at = Place(file=place.file, rule=str(name))
        layer, found = _experiment(str(name), one, at, beside)
        layers.setdefault(layer, []).append(("buckets" in one, found))
    made = tuple(_layer(name, tests, place) for name, tests in layers.items())
    _check_apart(made, place)
    return ExperimentSet(
        layers=made,
        holdout=number(held.get("share", 0), place.at("holdout.share"), least=0, most=1),
        holdout_salt=text(held.get("salt", HOLDOUT), place.at("holdout.salt")),
    )


def _experiment(name: str, values: Any, place: Place, beside: Path) -> tuple[str, Experiment]:
    """Return the layer's name, and the experiment."""
    keys = mapping(values, place)
    only(keys, _KEYS, place)
    if name == HOLDOUT:
        raise place.error("another name", name, " It stands for those who take part in none.")
    if "+" in name:
        raise place.error("a name without +, which joins names in exposures", name)
    if "variants" not in keys:
        raise place.error("variants, the control first", list(keys))
    start, share = _stretch(keys, place)
    found = Experiment(
        name=name,
        salt=text(str(keys.get("salt", "")), place.at("salt")),
        share=share,
        start=start,
        variants=_variants(keys["variants"], place.at("variants"), beside),
        surfaces=parse_surfaces(keys.get("surface"), place.at("surface")),
        since_us=_instant(keys.get("since"), place.at("since"), 0),
        until_us=_instant(keys.get("until"), place.at("until"), 1 << 62),
    )
    if found.since_us >= found.until_us:
        raise place.error("since to be before until", f"{keys['since']} and {keys['until']}", " It would never run.")
    return text(keys.get("layer", name), place.at("layer")), found


def _variants(values: Any, place: Place, beside: Path) -> tuple[Variant, ...]:
    listed = mapping(values, place)
    if not listed:
        raise place.error("one variant or more, the control first", "none")
    found = tuple(_variant(str(name), one or {}, place.at(str(name)), beside) for name, one in listed.items())
    others = sum(one.weight for one in found[1:])
    if others > 1 + _ROUNDING:
        raise place.error("weights that sum to 1 at most", round(others, 6), " They are shares of those who take part.")
    given = mapping(next(iter(listed.values())) or {}, place).get("weight")
    if given is not None and abs(given - (1 - others)) > _ROUNDING:
        raise place.error(f"a first variant of {1 - others:g}, which the others leave", given, " Leave its weight out.")
    return found


def _variant(name: str, values: Any, place: Place, beside: Path) -> Variant:
    keys = mapping(values, place)
    only(keys, _VARIANT, place)
    if "+" in name:
        raise place.error("a name without +, which joins names in exposures", name)
    defaults = mapping(keys.get("defaults") or {}, place.at("defaults"))
    only(defaults, _DEFAULTS, place.at("defaults"))
    release = text(keys.get("release", CURRENT), place.at("release"))
    diversity = defaults.get("diversity")
    return Variant(
        name=name,
        weight=number(keys.get("weight", 0), place.at("weight"), least=0, most=1),
        release_id="" if release == CURRENT else release,
        rules=_rules(keys.get("rules"), place.at("rules"), beside),
        explore=_explore(keys["explore"], place.at("explore")) if "explore" in keys else None,
        repeat=choice(defaults.get("repeat"), REPEATS, place.at("defaults.repeat")),
        diversity=None if diversity is None else number(diversity, place.at("defaults.diversity"), least=0, most=1),
    )


def _rules(value: Any, place: Place, beside: Path) -> Any:
    if value is None:
        return None
    try:
        return read_rule_set(beside / text(value, place))
    except ConfigError as error:
        raise ConfigError(f"{place.file}: {place.path}: {error}") from None


def _explore(values: Any, place: Place) -> Explore:
    keys = mapping(values or {}, place)
    only(keys, _EXPLORE, place)
    plain = Explore()
    candidates = keys.get("candidates", plain.candidates)
    if not isinstance(candidates, int) or isinstance(candidates, bool) or not 2 <= candidates <= _MOST_CANDIDATES:
        raise place.at("candidates").error(f"a whole number from 2 to {_MOST_CANDIDATES}", candidates)
    return Explore(
        half_life=number(keys.get("half_life", plain.half_life), place.at("half_life"), least=0, above=True),
        epsilon=number(keys.get("epsilon", plain.epsilon), place.at("epsilon"), least=0, most=1, above=True),
        candidates=candidates,
    )


def _stretch(keys: Mapping[str, Any], place: Place) -> tuple[float, float]:
    """Return where an experiment begins in its layer, and how much of it it has."""
    if "buckets" not in keys:
        return 0.0, number(keys.get("share", 1), place.at("share"), least=0, most=1)
    if "share" in keys:
        raise place.error("share or buckets", "both", " A share is of an experiment that is alone in its layer.")
    found = keys["buckets"]
    if not (isinstance(found, list) and len(found) == 2 and all(type(one) is int for one in found)
            and 0 <= found[0] <= found[1] < NUM_BUCKETS):  # fmt: skip
        raise place.at("buckets").error(f"the first and the last, such as [0, 299], from 0 to {NUM_BUCKETS - 1}", found)
    first, last = found
    return first / NUM_BUCKETS, (last + 1 - first) / NUM_BUCKETS


def _layer(name: str, tests: list[tuple[bool, Experiment]], place: Place) -> Layer:
    shared = [one for has_buckets, one in tests if not has_buckets]
    if shared and len(tests) > 1:
        test = shared[0]
        last = max(0, min(NUM_BUCKETS, round(test.share * NUM_BUCKETS)) - 1)
        hint = f" Those that it has alone are [0, {last}]; so nobody changes when others come and go."
        raise place.error(f"buckets of each experiment of layer {name!r}", f"share of {test.name!r}", hint)
    layer = Layer(name=name, experiments=tuple(one for _, one in tests))
    for (_, end, one), (start, _, other) in pairwise(layer.spans):
        if start < end:
            names = [layer.experiments[one].name, layer.experiments[other].name]
            raise place.error(f"buckets of layer {name!r} that belong to one experiment", f"some of both {names}")
    return layer


def _check_apart(layers: tuple[Layer, ...], place: Place) -> None:
    """Refuse two layers that want the same thing: one of them would not get it."""
    wanted: dict[str, str] = {}
    for layer in layers:
        for what in sorted({one for test in layer.experiments for variant in test.variants for one in _wants(variant)}):
            if wanted.setdefault(what, layer.name) != layer.name:
                hint = " Put these experiments into one layer, so that nobody takes part in both."
                raise place.error(f"{what} in one layer alone", [wanted[what], layer.name], hint)


def _wants(variant: Variant) -> Mapping[str, Any]:
    values = {
        "release": variant.release_id, "rules": variant.rules, "explore": variant.explore,
        "defaults.repeat": variant.repeat, "defaults.diversity": variant.diversity,
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not None and value != ""}


def _instant(value: Any, place: Place, otherwise: int) -> int:
    if value is None:
        return otherwise
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            raise place.error("an instant such as 2026-12-01T00:00:00+01:00", value) from None
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        raise place.error("an instant with its offset, such as 2026-12-01T00:00:00+01:00", str(value))
    return (value - dt.datetime.fromtimestamp(0, dt.UTC)) // dt.timedelta(microseconds=1)
