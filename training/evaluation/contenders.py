"""The baselines of a report: fitted on the split's fit part alone, each with what that took."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from features.errors import ConfigError
from features.sequences import Sequences
from training.evaluation.baselines import (
    ALS,
    AttributeKNN,
    Ease,
    ItemKNN,
    PersonalFrequency,
    Popularity,
    als_is_installed,
)
from training.evaluation.comparison import LIST_LENGTH
from training.evaluation.costs import Seconds, timed
from training.evaluation.kept_answers import Answered, KeptAnswers, answer_of
from training.evaluation.list_quality import ItemFacts
from training.evaluation.recommender import Recommender

# About half a minute of one core and 400 MB.
EASE_ITEMS: Final = 10_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Contenders:
    """Models that answer the same questions.

    Args:
        models: in the order of the report; the first is the one the others are compared with.
        fit_seconds: what fitting took, by name.
        left_out: why a baseline is not among them, by name.
        kept: what an earlier process was answered; a model that has answered everything is not fitted again.
    """

    models: list[Recommender] = field(default_factory=list)
    fit_seconds: dict[str, Seconds] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    kept: KeptAnswers | None = None

    def add(self, name: str, fit: Callable[[], Recommender], *, unless: str = "") -> None:
        """Fit a model and time it; leave it out where ``unless`` gives a reason, or its settings refuse the data.

        Where answers are kept it is asked at once, so that a process which is killed has lost one model at most.
        """
        if self.kept is not None and (took := self.kept.fit_of(name)) is not None:
            self.models.append(Answered(name=name))
            self.fit_seconds[name] = took
            return
        try:
            if unless:
                raise ConfigError(unless)
            with timed(self.fit_seconds, name):
                model = fit()
        except ConfigError as error:
            self.left_out[name] = str(error).removeprefix(f"{name}: ")
            log.info("%s left out: %s", name, self.left_out[name])
            return
        self.models.append(model)
        for task in () if self.kept is None else self.kept.tasks:
            answer_of(model, task, k=LIST_LENGTH, kept=self.kept, fit=self.fit_seconds[name])


def add_baselines(
    contenders: Contenders,
    fit: Sequences,
    *,
    counted: Sequences,
    facts: ItemFacts,
    ease_items: int = EASE_ITEMS,
    seed: int = 0,
) -> None:
    """Fit every baseline that the data and the installation allow.

    Args:
        contenders: gets them, in the order of the report.
        fit: what may be learned from.
        counted: the events among them whose kind counts as an answer; popularity counts these.
        facts: candidates, and what items say of themselves.
        ease_items: the most items that EASE is fitted for; its time grows with their cube.
        seed: of ties, and of the factors that ALS begins with.
    """
    candidates = facts.candidates
    no_content = "" if facts.profiles.nnz else "no item has a category, brand, price or title."
    no_package = "" if als_is_installed() else "its package 'implicit' is not installed."
    contenders.add(ItemKNN.name, lambda: ItemKNN.fit(fit, candidates=candidates, seed=seed))
    contenders.add(Ease.name, lambda: Ease.fit(fit, candidates=candidates, max_items=ease_items, seed=seed))
    contenders.add(ALS.name, lambda: ALS.fit(fit, candidates=candidates, seed=seed), unless=no_package)
    contenders.add(
        AttributeKNN.name,
        lambda: AttributeKNN(profiles=facts.profiles, candidates=candidates, seed=seed),
        unless=no_content,
    )
    contenders.add(Popularity.name, lambda: Popularity.fit(counted, candidates=candidates, seed=seed))
    # It has nothing to learn and nothing to say of new items.
    contenders.models.append(PersonalFrequency(candidates=candidates, seed=seed))
    contenders.fit_seconds[PersonalFrequency.name] = Seconds(wall=0.0, cpu=0.0)
