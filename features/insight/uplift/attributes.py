"""What a model knows of a customer, as numbers: measures standardised, words one column each, what is missing marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.errors import DataError

Floats = npt.NDArray[np.float64]
MOST_WORDS: Final = 20  # of a column; rarer ones share what is left


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """How the columns of a frame become numbers.

    Args:
        middle: of each measure's column; stands in for what is missing.
        mean, scale: what standardises a measure, so that penalties treat all alike.
        holes: measures of which some were missing; each gets a column that says so.
        words: of each column of words, those that get a column of their own, most frequent first.
    """

    middle: Mapping[str, float]
    mean: Mapping[str, float]
    scale: Mapping[str, float]
    holes: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, attributes: pd.DataFrame) -> Encoding:
        """Learn it from the customers that a model is fitted on; a column that says nothing is left out.

        Raises:
            DataError: a column holds neither numbers nor texts, or no column says anything.
        """
        middle, mean, scale, holes, words = {}, {}, {}, [], {}
        for name in attributes:
            column = attributes[name]
            if not _is_measure(column):
                words[str(name)] = _frequent(column)
                continue
            values = _numbers(column)
            known = values[np.isfinite(values)]
            if len(known) < len(values) and len(known):
                holes.append(str(name))
            if len(known) and known.std() > 0:
                middle[str(name)] = float(np.median(known))
                mean[str(name)], scale[str(name)] = float(known.mean()), float(known.std())
        if not middle and not any(words.values()):
            raise DataError(
                f"uplift: expected an attribute in which customers differ, found none in {list(attributes)}."
            )
        return cls(middle=middle, mean=mean, scale=scale, holes=tuple(holes), words=words)

    def __call__(self, attributes: pd.DataFrame) -> Floats:
        """Return the numbers of some customers, ``[N, F]``.

        Raises:
            DataError: a column is missing.
        """
        missing = [name for name in (*self.middle, *self.holes, *self.words) if name not in attributes]
        if missing:
            raise DataError(f"uplift: expected an attribute {missing[0]!r}, found {list(attributes)}.")
        parts: list[Floats] = [self._measure(attributes[name], name) for name in self.middle]
        parts += [(~np.isfinite(_numbers(attributes[name]))).astype(np.float64) for name in self.holes]
        for name, known in self.words.items():
            texts = attributes[name].astype(object)
            parts += [np.asarray(texts == word, np.float64) for word in known]
        return np.column_stack(parts)

    def _measure(self, column: pd.Series, name: str) -> Floats:
        values = _numbers(column)
        filled = np.where(np.isfinite(values), values, self.middle[name])
        return (filled - self.mean[name]) / self.scale[name]


def _is_measure(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _numbers(column: pd.Series) -> Floats:
    return np.asarray(column.astype("Float64").to_numpy(float, na_value=np.nan), np.float64)


def _frequent(column: pd.Series) -> tuple[str, ...]:
    if not (pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column) or column.dtype == "category"):
        raise DataError(f"uplift: expected numbers or texts in {column.name!r}, found {column.dtype}; leave it out.")
    counts = column.dropna().astype(str).value_counts()
    kept = sorted(counts.index, key=lambda word: (-int(counts[word]), word))[:MOST_WORDS]
    return tuple(kept) if len(kept) > 1 or counts.sum() < len(column) else ()
