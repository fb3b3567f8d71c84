"""Answers about customers: one as they are now, labels of many, audiences, and rules counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.columns import ANALYTICS, PERSONALISATION
from features.release.erasure import ErasedUsers
from features.rules.words import in_words
from serving.api.customer_schemas import (
    AudiencesAnswer,
    CartItem,
    CustomerAnswer,
    CustomerTrigger,
    MembersAnswer,
    MembersRequest,
    PreviewAnswer,
    PreviewRequest,
    PurchaseIntentNow,
    SegmentsAnswer,
    SegmentsRequest,
)
from serving.api.errors import RequestError, missing_part
from serving.customers.book import CustomerBook
from serving.customers.live_customer import LiveReader
from serving.customers.live_intent import NO_CONSENT, TOO_OLD, no_intent, purchase_intent
from serving.customers.rule_book import RuleBook
from serving.history.known_events import KnownEvents
from serving.live.reads import LiveReads
from serving.privacy.consents import ConsentWatch, UserConsent
from serving.privacy.erasures import ErasureWatch
from serving.release.state import ReleaseState

Flags = npt.NDArray[np.bool_]
_TAGS: Final = "tags"


class CustomerAnswers:
    """Reads the customers part, the live events, consents and the erasure list.

    Args:
        state: the release.
        live: reads events sent to this service.
        known: the same and the stored ones, as histories.
        erased: the erasure list.
        consents: what may serve what.
        wall: the present, UTC microseconds.
    """

    def __init__(
        self,
        state: ReleaseState,
        live: LiveReads,
        known: KnownEvents,
        erased: ErasureWatch,
        consents: ConsentWatch,
        *,
        wall: Callable[[], int],
    ) -> None:
        self._state = state
        self._live = live
        self._known = known
        self._erased = erased
        self._consents = consents
        self._wall = wall
        self._reader = None if state.rules is None else LiveReader(state, state.rules)
        self._forgotten: tuple[ErasedUsers, Flags] | None = None

    def customer(self, user_id: str) -> CustomerAnswer:
        """Return what is known of a customer.

        Raises:
            RequestError: nothing is, or the customer has not consented to analytics.
        """
        book, rules = self._book, self._state.rules
        erased = user_id in self._erased
        profile = None if erased else book.profile(user_id)
        consent = self._consents.of(user_id)
        if not erased and not consent.allows(ANALYTICS) and (profile is not None or consent.is_named):
            raise RequestError(
                403,
                "no_consent",
                "This customer has not consented to analytics, so no profile is shown; ask them, and send their answer "
                "to POST /v1/consents.",
            )
        history = [] if erased else self._known.history(user_id)
        if profile is None and not history:
            raise RequestError(404, "unknown_user", "No customer has this id; check it, or send their events first.")
        now_us = self._wall() if rules is None else rules.now_us(self._wall)
        triggers, cart, intent = self._now(user_id, consent)
        return CustomerAnswer(
            user_id=user_id,
            profile=profile,
            segments=book.segments(user_id) or {},
            tags=[] if rules is None else rules.tags.of(book.customer_of(user_id), now_us=now_us),
            open_triggers=triggers,
            cart=cart,
            purchase_intent=intent,
            best_hour=(profile or {}).get("best_hour"),
            personalised=consent.allows(PERSONALISATION),
            history=history,
            as_of=book.as_of,
            age_seconds=None if rules is None else rules.age_seconds(self._wall()),
            currency=book.currency,
            minor_units=book.minor_units,
            release_id=self._state.release_id,
        )

    def segments(self, request: SegmentsRequest) -> SegmentsAnswer:
        """Return the labels and tags of several customers; those without a row are listed."""
        book = self._book
        asked = list(dict.fromkeys(request.user_ids))
        erased = self._erased.current()
        known = [id_ for id_ in asked if id_ not in erased]
        allowed = self._consents.allowed(known, ANALYTICS)
        shown = [id_ for id_ in known if id_ in allowed]
        found = {
            id_: row | tags for id_, row, tags in zip(shown, book.segments_of(shown), self._tags(shown), strict=True) if row
        }  # fmt: skip
        withheld = [id_ for id_ in known if id_ not in allowed]
        hidden = {*withheld, *found}
        return SegmentsAnswer(
            segments=found,
            unknown=[id_ for id_ in asked if id_ not in hidden],
            without_consent=withheld,
            as_of=book.as_of,
            release_id=self._state.release_id,
        )

    def audiences(self) -> AudiencesAnswer:
        """Return the shop's audiences."""
        rules = self._rules
        return AudiencesAnswer(audiences=rules.audiences.summaries(), **self._origin(rules))

    def members(self, name: str, request: MembersRequest) -> MembersAnswer:
        """Return a page of an audience.

        Raises:
            RequestError: there is no such audience, or it asks for parameters.
        """
        rules = self._rules
        found, after = rules.audiences.page(
            name, limit=request.limit, after=request.after, now_us=rules.now_us(self._wall), may_see=self._may_be_written_to
        )  # fmt: skip
        return MembersAnswer(
            audience=rules.audiences.summary(name), user_ids=found, next_after=after, **self._origin(rules)
        )

    def preview(self, request: PreviewRequest) -> PreviewAnswer:
        """Return how many of those who may be written to a rule means.

        Raises:
            RequestError: the rule is none, or asks for events.
        """
        rules, counter = self._rules, self._rules.counter
        condition = counter.parse(request.rule)
        reachable = self._reachable(self._book)
        held = counter.mask(condition, now_us=rules.now_us(self._wall)) & reachable
        of = int(reachable.sum())
        size, note = counter.counted(int(held.sum()), of)
        share = None if size is None or not of else round(size / of, 6)
        return PreviewAnswer(
            rule=in_words(condition), size=size, of=of, share=share, note=note, **self._origin(rules)
        )  # fmt: skip

    def _now(
        self, user_id: str, consent: UserConsent
    ) -> tuple[list[CustomerTrigger], list[CartItem], PurchaseIntentNow]:
        """Return open triggers, cart and intent; none without consent to personalisation: they lead to messages."""
        rules, book = self._state.rules, self._book
        if user_id in self._erased or not consent.allows(PERSONALISATION):
            return [], [], no_intent(NO_CONSENT)
        if rules is None or self._reader is None:
            return [], [], no_intent(TOO_OLD)
        users = self._live.of(self._consents.ids_of(user_id)).values()
        sent = [row for user in users for row in user.events]
        now_us = rules.now_us(self._wall, newest_us=max((row[0] for row in sent), default=0))
        found = self._reader.read(book.customer_of(user_id), sent, consent, book.row(user_id), now_us=now_us)
        return self._reader.triggers(found), self._reader.cart(found), purchase_intent(rules, found)

    def _tags(self, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        rules = self._state.rules
        if rules is None:
            return [{}] * len(user_ids)
        customers = [self._book.customer_of(user_id) for user_id in user_ids]
        return [{_TAGS: names} for names in rules.tags.names_of(customers, now_us=rules.now_us(self._wall))]

    def _may_be_written_to(self, user_ids: Sequence[str]) -> set[str]:
        erased = self._erased.current()
        return self._consents.allowed([id_ for id_ in user_ids if id_ not in erased], PERSONALISATION)

    def _reachable(self, book: CustomerBook) -> Flags:
        """Return whose profile may be read and who may be written to, by row of the customer table."""
        held = self._consents.held(book.users, ANALYTICS) & self._consents.held(book.users, PERSONALISATION)
        erased = self._erased.current()
        if not len(erased):
            return held
        if self._forgotten is None or self._forgotten[0] is not erased:  # a digest a customer: once a change
            self._forgotten = erased, np.array([user in erased for user in book.users.ids], dtype=bool)
        return held & ~self._forgotten[1]

    def _origin(self, rules: RuleBook) -> dict[str, Any]:
        book = self._book
        age = rules.age_seconds(self._wall())
        return {"as_of": book.as_of, "age_seconds": age, "release_id": self._state.release_id}

    @property
    def _book(self) -> CustomerBook:
        if self._state.customers is None:
            raise missing_part("customers")
        return self._state.customers

    @property
    def _rules(self) -> RuleBook:
        if self._state.customers is None:
            raise missing_part("customers")
        if self._state.rules is None:
            raise RequestError(
                503,
                "audiences_missing",
                "This customers part was made before it held tags and audiences; promote again with newer features.",
            )
        return self._state.rules
