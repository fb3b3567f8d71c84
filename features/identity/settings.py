"""How ids are linked into customers: the ``identity`` section of ``shop.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from features.errors import ConfigError

ACCOUNT: Final = "user_id"  # the type of the log's user_id
DEVICE: Final = "device_id"  # the type of the log's device_id
# Other words for these two in an identities table.
ALIASES: Final[Mapping[str, str]] = {"user": ACCOUNT, "account": ACCOUNT, "device": DEVICE}
LogEvidence = Literal["events", "logins", "none"]


@dataclass(frozen=True, kw_only=True)
class IdentitySettings:
    """Which ids make one customer.

    Args:
        enabled: false leaves every ``user_id`` as it is.
        accounts: types of ids that are a customer by themselves; the oldest account names the customer.
        personal: types that belong to one person, and so merge all accounts that they are linked with.
        shared: types that several people may use: they join a customer, but never merge two. A type in none of the
            three lists counts as shared, the cautious choice.
        log_evidence: which rows of the log link an account with its device: all that the customer causes (``events``),
            ``logins`` only, or ``none``.
        min_sightings: a link seen fewer times merges nothing.
        max_accounts_per_id: a personal id linked with more accounts is a placeholder, and merges nothing.
        max_ids: a customer of more ids loses its weakest links, with an alarm.
        visit_gap_minutes: without an event for this long a visit on a device ends.
        ignored_ids: texts that are nobody's id, in lower case.
    """

    enabled: bool = True
    accounts: tuple[str, ...] = (ACCOUNT,)
    personal: tuple[str, ...] = ("union_id", "email", "email_hash", "phone", "phone_hash")
    shared: tuple[str, ...] = (DEVICE, "anonymous_id", "cookie")
    log_evidence: LogEvidence = "events"
    min_sightings: int = 1
    max_accounts_per_id: int = 5
    max_ids: int = 200
    visit_gap_minutes: int = 30
    ignored_ids: tuple[str, ...] = ("0", "-1", "null", "none", "nan", "undefined", "unknown", "anonymous", "guest")

    def __post_init__(self) -> None:
        for name in ("accounts", "personal", "shared", "ignored_ids"):
            _texts(name, getattr(self, name))
        self._refuse_twofold_types()
        if self.log_evidence not in get_args(LogEvidence):
            raise ConfigError(
                f"identity.log_evidence: expected one of {', '.join(get_args(LogEvidence))}, found {self.log_evidence!r}."
            )
        for name, least in {"min_sightings": 1, "max_accounts_per_id": 1, "max_ids": 2, "visit_gap_minutes": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"identity.{name}: expected a whole number of {least} or more, found {value!r}.")

    def _refuse_twofold_types(self) -> None:
        listed = [*self.accounts, *self.personal, *self.shared]
        twice = sorted({name for name in listed if listed.count(name) > 1})
        if twice:
            raise ConfigError(f"identity: expected each id type in one list, found {twice[0]!r} in several.")
        if ACCOUNT not in self.accounts:
            raise ConfigError(f"identity.accounts: expected {ACCOUNT!r} among them, found {list(self.accounts)}.")
        for name in listed:
            if ":" in name or name in ALIASES:
                meant = ALIASES.get(name, name.replace(":", "_"))
                raise ConfigError(f"identity: expected a type such as {meant!r}, found {name!r}.")


def _texts(name: str, values: object) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, str) and value for value in values):
        raise ConfigError(f"identity.{name}: expected a list of texts, found {values!r}.")
