"""Who learns from what, and who is asked for what: two protocols, one type.

Leave-one-out, strict::

    user's items     a b c d e
    fit              a b c          nothing from d or e enters the fit
    validation       a b c -> d
    test             a b c d -> e

Global temporal, cut-offs v < t::

    fit              everything before v
    validation       before v -> targets in [v, t)
    test             before t -> targets from t on
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.errors import DataError
from features.sequences import Sequences

Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, eq=False)
class Holdout:
    """Questions with known answers.

    Args:
        users: row in the split's sequences of each asked user, int64 ``[Q]``.
        query: what is known of each asked user, ``Q`` users, none empty.
        targets: what each did afterwards, ``Q`` users, none empty; repeats are kept.
    """

    users: Ints
    query: Sequences
    targets: Sequences

    @property
    def num_users(self) -> int:
        """Q."""
        return len(self.users)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """A fit part and two holdouts over the same users.

    Args:
        protocol: how it was cut.
        fit: what a model may learn from; all ``U`` users, some perhaps empty.
        validation: chosen on.
        test: reported once.
        num_unasked: users with test targets and no earlier event, whom no sequence can answer.
        cutoffs_us: ``(validation, test)`` instants of a global temporal split.
    """

    protocol: Literal["leave_one_out", "global_temporal"]
    fit: Sequences
    validation: Holdout
    test: Holdout
    num_unasked: int = 0
    cutoffs_us: tuple[int, int] | None = None

    @classmethod
    def leave_one_out(cls, sequences: Sequences) -> Split:
        """Last event tests, the one before validates; users with fewer than three events only fit.

        The validation item takes no part in the fit ("strict"), and stands in the test query.
        """
        asked = np.flatnonzero(sequences.lengths >= 3)
        whole = sequences.take(asked)
        held_out = np.zeros(sequences.num_events, dtype=bool)
        for back in (1, 2):
            held_out[sequences.offsets[asked + 1] - back] = True
        return cls(
            protocol="leave_one_out",
            fit=sequences.where(~held_out),
            validation=Holdout(users=asked, query=whole.without_last(2), targets=whole.without_last(1).last(1)),
            test=Holdout(users=asked, query=whole.without_last(1), targets=whole.last(1)),
        )

    @classmethod
    def global_temporal(
        cls,
        sequences: Sequences,
        *,
        validation_from_us: int,
        test_from_us: int,
        target_event_types: tuple[int, ...] = (),
        may_ask_nobody: bool = False,
    ) -> Split:
        """Cut at two instants; every event of a user lies on one side of each.

        Args:
            validation_from_us: first instant of the validation window, UTC microseconds.
            test_from_us: first instant of the test window, later than the above.
            target_event_types: event type codes that count as answers; all where empty.
            may_ask_nobody: these are a part of the users, and others may be asked.

        Raises:
            DataError: the cut-offs do not rise, or no user can be asked.
        """
        if validation_from_us >= test_from_us:
            raise DataError(
                f"Split: expected validation_from_us < test_from_us, found {validation_from_us} and {test_from_us}."
            )

        def holdout(start_us: int, stop_us: int | None) -> tuple[Holdout, int]:
            query = sequences.between(None, start_us)
            targets = sequences.between(start_us, stop_us)
            if target_event_types:
                targets = targets.where(np.isin(targets.event_type, target_event_types))
            wanted = targets.lengths > 0
            asked = np.flatnonzero(wanted & (query.lengths > 0))
            if len(asked) == 0 and not may_ask_nobody:
                raise DataError(
                    "Split: expected users with events on both sides of the cut-off, found none; move the cut-offs."
                )
            unasked = int(wanted.sum() - len(asked))
            return Holdout(users=asked, query=query.take(asked), targets=targets.take(asked)), unasked

        validation, _ = holdout(validation_from_us, test_from_us)
        test, num_unasked = holdout(test_from_us, None)
        return cls(
            protocol="global_temporal",
            fit=sequences.between(None, validation_from_us),
            validation=validation,
            test=test,
            num_unasked=num_unasked,
            cutoffs_us=(validation_from_us, test_from_us),
        )
