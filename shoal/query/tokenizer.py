"""Splits text into terms, in the same way for the knowledge colony and for searches.

A term is a lower-case word of the text, of at least three letters or digits, that is not a stop word. A word is a run
of letters and digits. There is no stemming, so every term occurs in the text as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

LETTERS_MIN: Final = 3
WORD: Final = re.compile(r"[^\W_]+")
_STOP = (
    "about above after again against all almost along already also although always among and another any anything "
    "are around because been before behind being below between both but can cannot could did does doing done down "
    "during each either else enough even ever every everything few for from get give given gives giving had has "
    "have having her here hers herself him himself his how however into its itself just least less like made make "
    "makes making many may might more most much must near neither never nor not nothing now off often one ones only "
    "onto other others our ours out over own per perhaps quite rather same shall she should since some someone "
    "something such than that the their theirs them themselves then there these they this those though through thus "
    "too toward towards two under until upon very was were what when where whether which while who whom whose why "
    "will with within without would yet you your yours "
)
STOP_WORDS: Final = frozenset(_STOP.split())


def terms_of(text: str) -> list[str]:
    """Returns the terms of a text, in order, with repeats.

    >>> terms_of("The wheels of a locomotive; they run on rails, on two rails")
    ['wheels', 'locomotive', 'run', 'rails', 'rails']
    """
    words = WORD.findall(text.lower())
    return [word for word in words if len(word) >= LETTERS_MIN and word not in STOP_WORDS]


def leading_terms(text: str, count: int) -> list[str]:
    """Returns the most frequent terms; on a tie those that come first.

    >>> leading_terms("The wheels of a locomotive; they run on rails, on two rails", 2)
    ['rails', 'wheels']
    """
    return [term for term, _ in Counter(terms_of(text)).most_common(count)]
