"""A board's widgets as sections of a page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.errors import ConfigError
from features.insight.boards.dimensions import TIMES
from features.insight.boards.figures import CUSTOMERS, Figures
from features.insight.boards.hiding import SMALL, shown
from features.insight.boards.metrics import Metric
from features.insight.boards.widgets import Bars, Funnel, Heat, Kpis, Line, Sql, Table, Widget
from features.insight.boards.writing import cut_name, difference, group_name, growth, interval, written
from features.insight.funnels.section import funnel_section
from features.insight.sql.tables import ReadOnlyTables
from features.privacy.small_groups import Suppressed
from features.report.charts import bars, heat, lines
from features.report.sections import Card, Definition, Drawn, Listed, Section, hidden_note, numbers
from features.report.words import Words

_SQL_ROWS = 200
_DAYS_OF_WEEK, _HOURS = 7, 24


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardSections:
    """Makes sections of widgets.

    Args:
        figures: of the board's days.
        tables: for queries of the shop's own.
        words: of the page.
    """

    figures: Figures
    tables: ReadOnlyTables
    words: Words

    def of(self, widget: Widget, name: str) -> Section:
        """Return one widget's section under the anchor ``name``."""
        makers: dict[type[Any], Callable[[Any, str], Section]] = {
            Kpis: self._kpis,
            Line: self._line,
            Bars: self._bars,
            Table: self._table,
            Heat: self._heat,
            Funnel: self._funnel,
            Sql: self._sql,
        }
        return makers[type(widget)](widget, name)

    def _funnel(self, widget: Funnel, name: str) -> Section:
        return funnel_section(self.figures.inputs, widget.definition, self.words, name=name, title=widget.title)

    def _kpis(self, widget: Kpis, name: str) -> Section:
        metrics, compared = widget.measured, self.figures.inputs.compared
        now = self._shown(self.figures.groups(metrics, ()), metrics).frame.iloc[0]
        before = None
        if compared is not None:
            before = self._shown(self.figures.groups(metrics, (), period=compared), metrics).frame.iloc[0]
        changes = {} if compared is None else self.figures.changes(metrics, compared)
        cards = [
            Card(
                value=self._written(now[metric.name], metric),
                name=self._name(metric),
                note=self._note(now, before, changes.get(metric.name), metric),
            )
            for metric in metrics
        ]
        told = "boards.kpis_text" if compared is None else "boards.kpis_compared"
        return Section(
            name=name, title=widget.title or self.words("boards.kpis"), text=self.words(told, **self._days()),
            cards=cards, defined=self._defined(metrics), tables={"figures": _stacked(now, before, metrics)},
            notes=[] if self._alike else [self.words("boards.unlike")],
        )  # fmt: skip

    def _note(self, now: Any, before: Any, changed: Sequence[float] | None, metric: Metric) -> str:
        money = self.figures.inputs.money
        own = interval(now[f"{metric.name}_low"], now[f"{metric.name}_high"], metric, money, self.words)
        if before is None or pd.isna(now[metric.name]) or pd.isna(before[metric.name]):
            return own
        if changed is not None:
            return difference(changed, metric, money, self.words) or own
        if not self._alike:
            return ""
        return growth(float(now[metric.name]), float(before[metric.name]), self.words)

    @property
    def _alike(self) -> bool:
        """Whether both spans have as many days, so that sums of theirs can be held side by side."""
        inputs = self.figures.inputs
        return inputs.compared is None or inputs.compared.num_days == inputs.period.num_days

    def _line(self, widget: Line, name: str) -> Section:
        metric, by = widget.measured[0], [widget.every, *([widget.by] if widget.by else [])]
        safe = self._whole(self._shown(self.figures.groups([metric], by), [metric], by), widget.every)
        frame = _named(safe.frame, by)
        places = list(frame[widget.every].drop_duplicates())
        series = {
            label: rows.set_index(widget.every)[metric.name].astype("Float64").reindex(places).to_numpy(float, na_value=np.nan)
            for label, rows in self._largest(frame, widget.by, metric, widget.top)
        }  # fmt: skip
        title = widget.title or self._title("boards.line", metric, widget.every)
        labels = [group_name(place, widget.every, self.words) for place in places]
        scale = self.figures.inputs.money.minor_units if metric.unit == "money" else 1
        drawn = lines(
            labels, {label: values / scale for label, values in series.items()}, title=title, description=title,
            as_share=metric.unit == "share", unit=self.figures.inputs.money.currency if metric.unit == "money" else "",
        )  # fmt: skip
        return self._section((name, title), [metric], safe, by, Drawn(svg=drawn, caption=title))

    def _bars(self, widget: Bars, name: str) -> Section:
        metric = widget.measured[0]
        safe = _top(
            self._shown(self.figures.groups([metric], [widget.by]), [metric], [widget.by]), [widget.by], widget.top
        )
        top = safe.frame
        texts = [
            " ".join(filter(None, (self._written(row[metric.name], metric), self._interval(row, metric))))
            for _, row in top.iterrows()
        ]
        title = widget.title or self._title("boards.by", metric, widget.by)
        labels = [group_name(value, widget.by, self.words) for value in top[widget.by]]
        svg = bars(labels, numbers(top[metric.name]), texts, title=title, description=title)
        return self._section((name, title), [metric], safe, [widget.by], Drawn(svg=svg, caption=title))

    def _table(self, widget: Table, name: str) -> Section:
        metrics, by = widget.measured, list(widget.by)
        safe = _top(self._shown(self.figures.groups(metrics, by), metrics, by), by, widget.top)
        cuts = self.words.listing([cut_name(one, self.words) for one in by])
        title = widget.title or self.words("boards.table", cuts=cuts)
        return self._section((name, title), metrics, safe, by, None)

    def _heat(self, widget: Heat, name: str) -> Section:
        metric, by = widget.measured[0], [widget.rows, widget.columns]
        safe = self._shown(self.figures.groups([metric], by), [metric], by)
        frame = _named(safe.frame, by)
        wide = frame.assign(**{metric.name: frame[metric.name].astype("Float64")}).pivot(
            index=widget.rows, columns=widget.columns, values=metric.name
        )
        wide = wide.reindex(index=_complete(widget.rows, wide.index), columns=_complete(widget.columns, wide.columns))
        strength = wide.to_numpy(float, na_value=np.nan)
        title = widget.title or self._title("boards.by", metric, widget.rows)
        svg = heat(
            strength / (np.nanmax(strength, initial=0.0) or 1.0),
            rows=[group_name(value, widget.rows, self.words) for value in wide.index],
            columns=[str(value) if widget.columns == "hour" else group_name(value, widget.columns, self.words)
                     for value in wide.columns],
            title=title, description=title, every=3 if len(wide.columns) > _DAYS_OF_WEEK else 1,
            column_title=cut_name(widget.columns, self.words), cell_inches=0.36,
        )  # fmt: skip
        return self._section((name, title), [metric], safe, by, Drawn(svg=svg, caption=title))

    def _sql(self, widget: Sql, name: str) -> Section:
        try:
            rows = self.tables.query(widget.query, limit=_SQL_ROWS).to_pandas(date_as_object=True)
        except ConfigError as error:
            raise ConfigError(f"{name}.sql: {error}") from None
        title = widget.title or self.words("boards.sql")
        cells = [[("" if pd.isna(value) else str(value)) for value in row] for row in rows.itertuples(index=False)]
        listed = Listed(caption=title, columns=list(map(str, rows.columns)), rows=cells, open=True)
        return Section(
            name=name, title=title, text="", listed=[listed], notes=[self.words("boards.sql_note")],
            tables={"rows": rows}, defined=[Definition(name=title, text=widget.query)],
        )  # fmt: skip

    def _section(
        self,
        named: tuple[str, str],
        metrics: Sequence[Metric],
        safe: Suppressed,
        by: Sequence[str],
        drawn: Drawn | None,
    ) -> Section:
        name, title = named
        rows = [
            [
                *(group_name(row[one], one, self.words) for one in by),
                *(cell for metric in metrics for cell in (self._written(row[metric.name], metric), self._interval(row, metric))
                  if cell or metric.over),
            ]
            for _, row in safe.frame.iterrows()
        ]  # fmt: skip
        heads = [cut_name(one, self.words) for one in by]
        for metric in metrics:
            heads += [self._name(metric), *([self.words("boards.interval_head")] if metric.over else [])]
        return Section(
            name=name, title=title, text="", drawn=[drawn] if drawn else [],
            finding=self._finding(safe, metrics[0], by) if drawn else "",
            listed=[Listed(caption=title, columns=heads, rows=rows, open=drawn is None)],
            notes=hidden_note(self.words, safe, self.figures.inputs.minimum), defined=self._defined(metrics),
            tables={"figures": safe.frame},
        )  # fmt: skip

    def _whole(self, safe: Suppressed, every: str) -> Suppressed:
        """Leave out weeks and months that the days of the board cut: part of a week is no low week."""
        inputs = self.figures.inputs
        begin = pd.to_datetime(safe.frame[every])
        length = {"day": pd.DateOffset(days=1), "week": pd.DateOffset(weeks=1), "month": pd.DateOffset(months=1)}[every]
        last = pd.Timestamp(inputs.period.last_day)
        whole = (begin >= pd.Timestamp(inputs.period.first_day)) & (begin + length - pd.DateOffset(days=1) <= last)
        return dataclasses.replace(safe, frame=safe.frame[whole].reset_index(drop=True)) if whole.any() else safe

    def _finding(self, safe: Suppressed, metric: Metric, by: Sequence[str]) -> str:
        """Return where a figure is largest, and where least."""
        known = safe.frame.dropna(subset=[metric.name])
        if len(known) < 2:
            return ""
        ordered = known.sort_values(metric.name, ascending=False, kind="stable")
        most, least = (
            self.words(
                "boards.at", at=self.words.listing([group_name(row[one], one, self.words) for one in by]),
                value=self._written(row[metric.name], metric),
            )
            for row in (ordered.iloc[0], ordered.iloc[-1])
        )  # fmt: skip
        return self.words("boards.finding", metric=self._name(metric), most=most, least=least)

    def _shown(self, frame: pd.DataFrame, metrics: Sequence[Metric], by: Sequence[str] = ()) -> Suppressed:
        return shown(frame, metrics, by=by, minimum=self.figures.inputs.minimum)

    def _largest(self, frame: pd.DataFrame, by: str, metric: Metric, top: int) -> list[tuple[str, pd.DataFrame]]:
        if not by:
            return [(self._name(metric), frame)]
        weight = metric.name if not metric.over else CUSTOMERS
        sizes = frame.groupby(by, dropna=False)[weight].sum().sort_values(ascending=False, kind="stable")
        return [
            (group_name(value, by, self.words), frame[frame[by].isna() if pd.isna(value) else frame[by] == value])
            for value in sizes.index[:top]
        ]

    def _written(self, value: Any, metric: Metric) -> str:
        return written(value, metric.unit, self.figures.inputs.money)

    def _interval(self, row: Any, metric: Metric) -> str:
        ends = row[f"{metric.name}_low"], row[f"{metric.name}_high"]
        return interval(*ends, metric, self.figures.inputs.money, self.words)

    def _name(self, metric: Metric) -> str:
        return self.words(f"boards.metric_{metric.name}")

    def _title(self, key: str, metric: Metric, cut: str) -> str:
        return self.words(key, metric=self._name(metric), cut=cut_name(cut, self.words))

    def _defined(self, metrics: Sequence[Metric]) -> list[Definition]:
        return [
            Definition(name=self._name(metric), text=self.words(f"boards.text_{metric.name}")) for metric in metrics
        ]

    def _days(self) -> dict[str, str]:
        inputs = self.figures.inputs
        days = {"period": self.words.days(inputs.period.first_day, inputs.period.last_day)}
        if inputs.compared is not None:
            days["compared"] = self.words.days(inputs.compared.first_day, inputs.compared.last_day)
        return days


def _named(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the groups that have names; those that have none have no figures either."""
    return frame[~(frame[list(by)] == SMALL).any(axis=1)]


def _top(safe: Suppressed, by: Sequence[str], top: int) -> Suppressed:
    """Return all times, or else the largest groups."""
    return safe if any(one in TIMES for one in by) else dataclasses.replace(safe, frame=safe.frame[:top])


def _complete(dimension: str, found: pd.Index) -> list[Any]:
    whole = {"weekday": range(1, _DAYS_OF_WEEK + 1), "hour": range(_HOURS)}
    return list(whole[dimension]) if dimension in whole else list(found)


def _stacked(now: pd.Series, before: pd.Series | None, metrics: Sequence[Metric]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "metric": metric.name,
                "value": now[metric.name],
                "low": now[f"{metric.name}_low"],
                "high": now[f"{metric.name}_high"],
                "value_before": None if before is None else before[metric.name],
            }
            for metric in metrics
        ]
    )
