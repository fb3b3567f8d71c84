"""Steps in order with windows of their own, exclusions or optional steps.

Forwards, a row that is step k + 1 continues the last attempt that got to step k before it. No other can do better: the
last one began last, waited least and met the fewest exclusions, as attempts keep the order of their beginnings.

Backwards, within the best attempt of a unit, rows from which its end can be reached are marked, and of these the first
of each step is taken. Optional steps are looked for last, between the required ones.

    A1 B2 B6 C8, two days from B to C        A1 B6 C8: from B2 the end cannot be reached
"""

from __future__ import annotations

from collections.abc import Iterator

from features.insight.funnels.definition import FunnelDefinition, covers
from features.insight.funnels.rows import columns_sql, excluded_column, moment, step_column, within
from features.rules.conditions import DAY_US


class PacedQuery:
    """Puts the query together, one common table expression after the other; each reads the one before alone.

    Args:
        definition: the funnel; its mode is ordered.
    """

    def __init__(self, definition: FunnelDefinition) -> None:
        self._definition = definition
        self._keys = columns_sql(definition.keys)
        self._num_required = len(definition.required)
        self._flags = [step_column(n) for n in range(len(definition.steps))]
        self._flags += [excluded_column(n) for n in range(len(definition.exclusions))]
        self._ctes: list[str] = []
        self._columns: list[str] = []

    def sql(self) -> str:
        """Return SQL of a table of each unit's best attempt: keys, reached, excluded, t_1, t_2, ... (moments)."""
        self._number_rows()
        for number in range(2, self._num_required + 1):
            self._advance(number)
        self._choose()
        for number in range(self._num_required - 1, 1, -1):
            self._look_back(number)
        for number in range(1, self._num_required + 1):
            self._take(number)
        for position in self._optional():
            self._seek(position)
        return f"WITH {', '.join(self._ctes)} {self._summary()}"

    def _add(self, select: str, *new: str, where: str = "", rows: str = "") -> None:
        """Append a stage that keeps all columns and has new ones."""
        source = rows or f"stage_{len(self._ctes)}"
        kept = ", ".join([self._keys, *self._columns])
        condition = f" WHERE {where}" if where else ""
        more = f", {select}" if select else ""
        self._ctes.append(f"stage_{len(self._ctes) + 1} AS (SELECT {kept}{more} FROM {source}{condition})")
        self._columns += new

    def _number_rows(self) -> None:
        at = moment(self._definition)
        self._add(
            f"{', '.join(self._flags)}, {at} AS moment, "
            f"row_number() OVER (PARTITION BY {self._keys} ORDER BY {at}, event_id) AS pos",
            *(*self._flags, "moment", "pos"),
            rows="{rows}",
            where=" OR ".join(self._flags),
        )
        self._add(
            "CASE WHEN step_1 THEN moment END AS start_1, CASE WHEN step_1 THEN pos END AS from_1", "start_1", "from_1"
        )

    def _advance(self, number: int) -> None:
        """Mark rows that are a step and continue an attempt; start_k and from_k say when and where that began."""
        way = f"OVER (PARTITION BY {self._keys} ORDER BY pos ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        got = f"start_{number - 1} IS NOT NULL"
        known = len(self._columns)
        self._add(
            f"max(CASE WHEN {got} THEN pos END) {way} AS last_pos, max(CASE WHEN {got} THEN moment END) {way} AS last_at, "
            f"max(start_{number - 1}) {way} AS last_start, max(from_{number - 1}) {way} AS last_from, "
            f"max(CASE WHEN {self._is_excluded(number)} THEN pos END) {way} AS out_pos",
            *("last_pos", "last_at", "last_start", "last_from", "out_pos"),
        )
        self._columns = self._columns[:known]
        continues = " AND ".join(
            [
                self._flag(number),
                within("moment", "last_start", self._definition.window_us),
                "(out_pos IS NULL OR out_pos < last_pos)",
                *self._in_time(number, "moment", "last_at"),
            ]
        )
        names = (f"start_{number}", f"from_{number}")
        self._add(
            f"CASE WHEN {continues} THEN last_start END AS {names[0]}, CASE WHEN {continues} THEN last_from END AS {names[1]}",
            *names,
        )

    def _choose(self) -> None:
        """Find each unit's best attempt: the deepest, of these the first to get there; keep its rows."""
        numbers = range(self._num_required, 0, -1)
        level = " ".join(f"WHEN start_{n} IS NOT NULL THEN {n}" for n in numbers)
        self._add(f"CASE {level} ELSE 0 END AS level", "level")
        self._add(f"max(level) OVER (PARTITION BY {self._keys}) AS reached", "reached")
        there, unit = "CASE WHEN level = reached AND level > 0 THEN", f"OVER (PARTITION BY {self._keys})"
        self._add(
            f"min({there} pos END) {unit} AS end_pos, "
            f"min({there} coalesce({', '.join(f'from_{n}' for n in numbers)}) END) {unit} AS begin_pos, "
            f"min({there} coalesce({', '.join(f'start_{n}' for n in numbers)}) END) {unit} AS begin_at",
            *("end_pos", "begin_pos", "begin_at"),
        )
        kept = [*self._flags, "moment", "pos", "reached", "end_pos", "begin_pos", "begin_at"]
        self._columns = kept
        self._add("", where=f"pos >= begin_pos AND {within('moment', 'begin_at', self._definition.window_us)}")
        top = f"reached = {self._num_required} AND pos = end_pos"
        self._add(f"{top} AS leads_{self._num_required}", f"leads_{self._num_required}")

    def _look_back(self, number: int) -> None:
        """Mark rows of a step from which the attempt's end can be reached; the next such row decides."""
        way = f"OVER (PARTITION BY {self._keys} ORDER BY pos ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
        known = len(self._columns)
        self._add(
            f"min(CASE WHEN leads_{number + 1} THEN pos END) {way} AS next_pos, "
            f"min(CASE WHEN leads_{number + 1} THEN moment END) {way} AS next_at, "
            f"min(CASE WHEN {self._is_excluded(number + 1)} THEN pos END) {way} AS out_pos",
            *("next_pos", "next_at", "out_pos"),
        )
        self._columns = self._columns[:known]
        leads = " AND ".join(
            [
                self._flag(number),
                "pos > begin_pos AND next_pos IS NOT NULL AND (out_pos IS NULL OR out_pos > next_pos)",
                *self._in_time(number + 1, "next_at", "moment"),
            ]
        )
        self._add(
            f"(reached = {number} AND pos = end_pos) OR (reached > {number} AND {leads}) AS leads_{number}",
            f"leads_{number}",
        )

    def _take(self, number: int) -> None:
        """Take the first row of a step that leads to the end: its place and moment."""
        if number == 1:
            self._add("begin_pos AS pos_1, begin_at AS at_1", "pos_1", "at_1")
            return
        taken = f"CASE WHEN leads_{number} AND pos > pos_{number - 1} THEN"
        unit = f"OVER (PARTITION BY {self._keys})"
        self._add(
            f"min({taken} pos END) {unit} AS pos_{number}, min({taken} moment END) {unit} AS at_{number}",
            *(f"pos_{number}", f"at_{number}"),
        )

    def _seek(self, position: int) -> None:
        """Look for an optional step after the step before it, up to the next required one or the window's end."""
        number = self._definition.required.index(self._definition.base[position]) + 1
        between = [
            f"o{other}_pos"
            for other in self._optional()
            if self._definition.base[other] == self._definition.base[position]
        ]
        earlier = [f"pos_{number}", *between[: between.index(f"o{position}_pos")]]
        after = f"greatest({', '.join(earlier)})" if len(earlier) > 1 else earlier[0]
        is_out = self._is_excluded(number + 1, to=position)
        unit = f"OVER (PARTITION BY {self._keys})"
        known = len(self._columns)
        self._add(f"min(CASE WHEN {is_out} AND pos > pos_{number} THEN pos END) {unit} AS out_pos", "out_pos")
        self._columns = self._columns[:known]
        found = " AND ".join(
            [
                f"{step_column(position)} AND pos > {after} AND pos_{number} IS NOT NULL",
                f"(pos_{number + 1} IS NULL OR pos < pos_{number + 1})",
                "(out_pos IS NULL OR pos < out_pos)",
                *self._in_time(position + 1, "moment", f"at_{number}", of=position),
            ]
        )
        names = (f"o{position}_pos", f"o{position}_at")
        self._add(
            f"min(CASE WHEN {found} THEN pos END) {unit} AS {names[0]}, min(CASE WHEN {found} THEN moment END) {unit} AS {names[1]}",
            *names,
        )

    def _summary(self) -> str:
        times = []
        for position, step in enumerate(self._definition.steps):
            source = f"o{position}_at" if step.optional else f"at_{self._definition.required.index(position) + 1}"
            times.append(f"max({source}) AS t_{position + 1}")
        ended = [
            f"WHEN reached = {n} AND pos > end_pos AND ({self._is_excluded(n + 1)}) THEN 1"
            for n in range(1, self._num_required)
        ]
        return f"""SELECT {self._keys}, max(reached) AS reached, max(CASE {" ".join(ended)} ELSE 0 END) AS excluded,
            {", ".join(times)} FROM stage_{len(self._ctes)} GROUP BY {self._keys}"""

    def _optional(self) -> list[int]:
        return [position for position, step in enumerate(self._definition.steps) if step.optional]

    def _flag(self, number: int) -> str:
        return step_column(self._definition.required[number - 1])

    def _is_excluded(self, number: int, *, to: int | None = None) -> str:
        """SQL of whether a row ends attempts on the way to a required step, or to an optional one before it."""
        frm = self._definition.required[number - 2]
        target = self._definition.required[number - 1] if to is None else to
        found = [
            excluded_column(n)
            for n, exclusion in enumerate(self._definition.exclusions)
            if covers(self._definition, exclusion, frm=frm, to=target)
        ]
        return " OR ".join(found) or "FALSE"

    def _in_time(self, number: int, later: str, earlier: str, *, of: int | None = None) -> Iterator[str]:
        """SQL of whether a step came soon enough after the required step before it."""
        days = self._definition.steps[self._definition.required[number - 1] if of is None else of].within_days
        if days is not None:
            yield within(later, earlier, round(days * DAY_US))
