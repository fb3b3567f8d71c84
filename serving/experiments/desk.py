"""What people are told of rules and experiments: any worker answers, from the board."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.api.merchandising_schemas import ExperimentSummary, RulesAnswer, RuleSummary, WishTrouble
from serving.experiments.experiment import Experiment, Layer
from serving.experiments.wish_source import TOPIC
from serving.experiments.wishes import Wishes
from serving.merchandising.merchandiser import Merchandiser
from serving.release.board import Board, Plan
from serving.surfaces.clock import wall_clock_us


class WishDesk:
    """Tells of the wishes as they are now.

    Args:
        wishes: of this worker, the same in all.
        board: where the supervisor says what became of the files; ``None`` where it follows none.
        wall: the present, UTC microseconds.
    """

    def __init__(self, wishes: Wishes, *, board: Board | None = None, wall: Callable[[], int] = wall_clock_us) -> None:
        self._wishes, self._board, self._wall = wishes, board, wall

    def answer(self, merchandiser: Merchandiser, *, held: Iterable[str] = ()) -> RulesAnswer:
        """Return what holds.

        Args:
            merchandiser: of the release that answers.
            held: releases that every worker holds.
        """
        now = self._wishes.current()
        plan = self._plan()
        return RulesAnswer(
            version="" if plan is None else plan.serving.name,
            since="" if plan is None else plan.since,
            rules=_rules(merchandiser, self._wishes, self._wall()),
            experiments=[
                _summary(layer, one, self._wall(), frozenset(held))
                for layer in now.experiments.layers
                for one in layer.experiments
            ],
            holdout=now.experiments.holdout,
            problems=[what for rules in now.rule_sets() for what in merchandiser.compiled(rules).problems],
            refused=[WishTrouble(version=one.name, reason=one.reason, at=one.at) for one in plan.refusals]
            if plan
            else [],
            trouble="" if plan is None else plan.trouble,
        )

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus sees of the files, as its registries ask for it; the same from whichever worker."""
        plan = self._plan()
        if plan is None:
            return
        yield CounterMetricFamily("footfall_rules_changes", "Changes of rules and experiments", value=plan.swaps)
        yield CounterMetricFamily(
            "footfall_rules_refusals", "Versions of the files that were refused", value=plan.refused
        )
        trouble = bool(plan.trouble) or bool(plan.refusals and plan.refusals[-1].at > plan.since)
        yield GaugeMetricFamily(
            "footfall_rules_trouble", "1 while the files hold something else than what is in force", value=trouble
        )

    def _plan(self) -> Plan | None:
        if self._board is None or not self._board.plan_path(TOPIC).exists():
            return None
        return self._board.plan(TOPIC)


def _rules(merchandiser: Merchandiser, wishes: Wishes, now_us: int) -> list[RuleSummary]:
    return [
        RuleSummary(
            name=one.rule.name,
            title=one.rule.title,
            effect=type(one.rule.effect).__name__.lower(),
            in_force=one.may_hold(merchandiser.moment(now_us)),
        )
        for one in merchandiser.compiled(wishes.rules()).rules
    ]


def _summary(layer: Layer, one: Experiment, now_us: int, held: frozenset[str]) -> ExperimentSummary:
    named = {variant.release_id for variant in one.variants} - {""}
    others = {variant.name: variant.weight for variant in one.variants[1:]}
    control = one.variants[0].name
    return ExperimentSummary(
        name=one.name,
        layer=layer.name,
        share=one.share,
        running=one.since_us <= now_us < one.until_us,
        variants={control: round(1 - sum(others.values()), 9)} | others,
        missing_releases=sorted(named - held),
    )
