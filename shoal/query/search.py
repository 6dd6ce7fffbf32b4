"""Searches documents by TF-IDF, with the same results on any number of shards.

A document is a node with a text; `terms_of` returns its terms. Two steps, each on all shards at once::

    1   how many documents have you, and how many have each term?    ->  N and df, added up over all shards
    2   which are your best, by these weights?                       ->  the best of the bests

    weight of a term      ln(N / df) + 1                (inverse document frequency, over all shards' documents)
    score of a document   sum of count * weight over the query's terms, in the order of the terms

Counts are added as integers, the requester computes the weights once, and every document's terms are added in the same
order. So scores and ranking (by score, then by document id) are bit-identical to those of one process that holds all
documents.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from shoal.api.commands.results import HitRow
from shoal.api.errors import Refused, UnknownColumn
from shoal.graph import columns as col
from shoal.graph.shard_graph import ShardGraph
from shoal.program.program import Program
from shoal.query.tokenizer import terms_of

Array = NDArray[Any]
TERMS_MAX: Final = 64


class Hit(NamedTuple):
    """A document that matches a search, and its score."""

    id: int | str
    score: float


@dataclass(frozen=True)
class Hits:
    """Documents with their scores, best first."""

    ordinals: NDArray[np.int64]
    scores: NDArray[np.float64]
    ids: Any

    def rows(self) -> list[tuple[Any, float]]:
        """Returns id and score."""
        ids = self.ids.tolist() if isinstance(self.ids, np.ndarray) else self.ids.to_pylist()
        return list(zip(ids, self.scores.tolist(), strict=True))


class Index:
    """The documents of one part: the nodes that have terms in a column."""

    def __init__(self, part: ShardGraph, column: str) -> None:
        """Raises `UnknownColumn`. Takes some microseconds per document."""
        self._part = part
        rows: dict[str, list[int]] = {}
        counts: dict[str, list[int]] = {}
        self.documents = 0
        for row, text in enumerate(texts_of(part, column)):
            found = Counter(terms_of(text))
            self.documents += bool(found)
            for term, count in found.items():
                rows.setdefault(term, []).append(row)
                counts.setdefault(term, []).append(count)
        self._postings = {term: (np.array(rows[term], np.int32), np.array(counts[term], np.int32)) for term in rows}

    def frequencies(self, terms: Sequence[str]) -> list[int]:
        """Returns in how many documents each term occurs."""
        return [len(self._postings[term][0]) if term in self._postings else 0 for term in terms]

    def best(self, terms: Sequence[str], weights: Sequence[float], count: int) -> Hits:
        """Returns the best-matching documents by these weights."""
        scores = np.zeros(self._part.size, np.float64)
        for term, weight in zip(terms, weights, strict=True):
            if term in self._postings:
                rows, counts = self._postings[term]
                scores[rows] += counts * weight
        found = np.flatnonzero(scores > 0.0)
        found = found[_ranked(scores[found], self._part.ordinals[found], count)]
        return Hits(self._part.ordinals[found], scores[found], col.take(self._part.ids, found))

    @cached_property
    def nbytes(self) -> int:
        """The bytes of the postings."""
        return sum(rows.nbytes + counts.nbytes for rows, counts in self._postings.values())


@dataclass(frozen=True)
class Query:
    """A query's terms: in order, without duplicates."""

    terms: tuple[str, ...]

    @classmethod
    def of(cls, words: str) -> Query:
        """Parses a query. Raises `ShoalError` if it has no searchable term."""
        terms = tuple(sorted(set(terms_of(words))))
        if not terms:
            raise Refused("the query has no searchable words: give words of three letters or more, other than 'the'")
        if len(terms) > TERMS_MAX:
            raise Refused(f"a query has at most {TERMS_MAX} terms, not {len(terms)}")
        return cls(terms)

    def weights(self, documents: int, frequencies: Sequence[int]) -> tuple[float, ...]:
        """Returns the weight of each term, by all shards' counts.

        >>> Query(("rare", "common", "unknown")).weights(100, [1, 100, 0])
        (5.605170185988092, 1.0, 0.0)
        """
        return tuple(math.log(documents / count) + 1.0 if count else 0.0 for count in frequencies)


def merged(parts: Sequence[Hits], count: int) -> Hits:
    """Returns the best of all shards' best documents."""
    ordinals = np.concatenate([part.ordinals for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    ids = col.concatenated([part.ids for part in parts])
    rows = _ranked(scores, ordinals, count)
    return Hits(ordinals[rows], scores[rows], col.take(ids, rows))


class Found(TypedDict):
    """What the reply to a search contains besides the run's name."""

    documents: int
    terms: Mapping[str, int]
    hits: list[HitRow]


def search(indexes: Sequence[Index], query: Query, count: int) -> tuple[Hits, Found]:
    """Runs both steps with all indexes in this process; returns the best documents and what `run search` adds."""
    documents = sum(index.documents for index in indexes)
    frequencies = [sum(each) for each in zip(*(index.frequencies(query.terms) for index in indexes), strict=True)]
    weights = query.weights(documents, frequencies)
    hits = merged([index.best(query.terms, weights, count) for index in indexes], count)
    return hits, told(hits, query, documents, frequencies)


def told(hits: Hits, query: Query, documents: int, frequencies: Sequence[int]) -> Found:
    """Returns a search as commands present it."""
    return {
        "documents": documents,
        "terms": dict(zip(query.terms, frequencies, strict=True)),
        "hits": [{"id": node, "score": score} for node, score in hits.rows()],
    }


def text_column(program: type[Program], params: Mapping[str, Any]) -> str:
    """Returns the column whose texts a run reads: its parameter `text`. Raises `ShoalError` if the program has none."""
    parameter = program.parameters().get("text")
    if parameter is None or parameter.kind is not str:
        raise Refused(f"program '{program.name}' can't be searched: it has no parameter `text` that names a column")
    return str(params.get("text", parameter.default))


def texts_of(part: ShardGraph, column: str) -> list[str]:
    """Returns the texts of the own nodes, in local order. Raises `UnknownColumn`."""
    if column not in part.node_columns:
        raise UnknownColumn.of_graph("node", column, part.node_columns)
    values = part.node_columns[column]
    if not col.is_string(values):
        raise UnknownColumn(f"column '{column}' holds {col.type_name(values)}, not text")
    texts: list[str] = values.to_pylist()
    return texts


def _ranked(scores: Array, ordinals: Array, count: int) -> Array:
    """Returns the positions of the best, best first; on a tie the lesser ordinal (and id) comes first."""
    order: Array = np.lexsort((ordinals, -scores))
    return order[: max(count, 0)]
