"""Searching over shards, against one process that holds all documents and knows nothing of shards."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal
from shoal.algorithms.pagerank import PageRank
from shoal.query.search import TERMS_MAX, Query, text_column
from shoal.query.tokenizer import leading_terms, terms_of

WORDS = st.sampled_from(["the", "tree", "trees", "wood", "house", "of", "oak", "a2b", "ash"])
TEXTS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), min_size=1, max_size=20)


def twin(texts: list[str], words: str, count: int) -> list[tuple[int, float]]:
    documents = {node: Counter(terms_of(text)) for node, text in enumerate(texts)}
    documents = {node: terms for node, terms in documents.items() if terms}
    scores = dict.fromkeys(documents, 0.0)
    for term in sorted(set(terms_of(words))):
        frequency = sum(term in terms for terms in documents.values())
        for node, terms in documents.items():
            if term in terms:
                scores[node] += terms[term] * (math.log(len(documents) / frequency) + 1.0)
    found = [(node, score) for node, score in scores.items() if score > 0.0]
    return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:count]


@given(texts=TEXTS, words=st.lists(WORDS, min_size=1, max_size=5).map(" ".join), count=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_any_number_of_shards_ranks_as_one_process_would(texts: list[str], words: str, count: int) -> None:
    data = shoal.from_arrays([], [], nodes=list(range(len(texts))), node_columns={"gloss": texts}, partition_count=7)
    for shards in (1, 3):
        with shoal.local(shards) as session:
            run = session.load("texts", data=data).run("knowledge", ticks=1)
            if not terms_of(words):
                with pytest.raises(shoal.ShoalError, match="no searchable words"):
                    run.search(words, count)
            else:
                assert run.search(words, count) == twin(texts, words, count)


def test_a_query_has_a_limit() -> None:
    with pytest.raises(shoal.ShoalError, match=f"at most {TERMS_MAX} terms"):
        Query.of(" ".join(f"word{i}" for i in range(TERMS_MAX + 1)))


def test_only_a_program_that_reads_texts_can_be_searched() -> None:
    with pytest.raises(shoal.ShoalError, match="'pagerank' can't be searched"):
        text_column(PageRank, {})


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("The THE the", []),
        ("Über-Fluß 42nd o_o snake_case", ["über", "fluß", "42nd", "snake", "case"]),
        ("e.g. a b cd", []),
    ],
)
def test_what_a_term_is(text: str, terms: list[str]) -> None:
    assert terms_of(text) == terms


def test_leading_terms_are_the_frequent_ones_and_then_the_first() -> None:
    assert leading_terms("oak tree oak wood tree ash", 3) == ["oak", "tree", "wood"]
