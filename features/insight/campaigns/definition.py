"""How a shop wants its campaigns judged.

campaigns:
  only: [c001, c003]          # all where left out
  days: 14                    # on which a campaign is thought to work, its first included
  days_before: 56
  margin: 0.35
  holdout: tag_{campaign}     # column of the users table with the arms of a randomised campaign
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.errors import ConfigError
from features.insight.campaigns.messages import WITHIN_DAYS
from features.insight.campaigns.outcomes import OUTCOMES, Outcome
from features.insight.campaigns.windows import BLOCK_DAYS, DAYS_BEFORE
from features.insight.definitions import check_choice, check_whole, parsed

CAMPAIGN_DAYS: Final = 14
_PLACE: Final = "{campaign}"


@dataclass(frozen=True, kw_only=True)
class CampaignsDefinition:
    """How campaigns are judged.

    Args:
        only: campaign ids; all that wrote to customers where empty.
        days: that a campaign is thought to work, from its first message on.
        days_before: looked at for comparison; where the log begins later, as many whole blocks as it has.
        block_days: length of the pieces by which the trend before is told.
        within_days: a purchase counts for a message up to so many days after the first click.
        outcome: what is compared.
        margin: share of revenue that stays when goods are paid for.
        holdout: column of the users table that holds the arms of a campaign that was randomised, ``{campaign}`` for
            its id.
        treated, held_out: what that column holds.
    """

    only: tuple[str, ...] = ()
    days: int = CAMPAIGN_DAYS
    days_before: int = DAYS_BEFORE
    block_days: int = BLOCK_DAYS
    within_days: int = WITHIN_DAYS
    outcome: Outcome = "revenue"
    margin: float = 1.0
    holdout: str = f"tag_{_PLACE}"
    treated: str = "treatment"
    held_out: str = "holdout"

    def __post_init__(self) -> None:
        for name in ("days", "days_before", "block_days", "within_days"):
            check_whole(name, getattr(self, name), least=1, most=731)
        check_choice("outcome", self.outcome, OUTCOMES)
        if not isinstance(self.only, tuple) or not all(isinstance(name, str) for name in self.only):
            raise ConfigError(f"only: expected a list of campaign ids, found {self.only!r}. Put ids in quotes.")
        for name in ("holdout", "treated", "held_out"):
            if not isinstance(getattr(self, name), str):
                raise ConfigError(f"{name}: expected a text, found {getattr(self, name)!r}. Put it in quotes.")
        is_number = isinstance(self.margin, int | float) and not isinstance(self.margin, bool)
        if not is_number or not 0 < self.margin <= 1:
            raise ConfigError(f"margin: expected a share above 0 up to 1, found {self.margin!r}.")
        if self.days_before < self.block_days:
            raise ConfigError(
                f"days_before: expected at least block_days, {self.block_days}, found {self.days_before}."
            )

    @classmethod
    def parse(cls, mapping: object, *, where: str = "campaigns") -> CampaignsDefinition:
        """Read it from a mapping as YAML gives it.

        Raises:
            ConfigError: a name is unknown, or a value does not fit.
        """
        return parsed(cls, mapping, where=where)

    def holdout_of(self, campaign_id: str) -> str:
        """Return the column with a campaign's arms."""
        return self.holdout.replace(_PLACE, campaign_id)
