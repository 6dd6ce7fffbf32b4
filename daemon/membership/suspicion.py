"""Suspicion: the time a silent member has to refute it (SWIM section 4.2, Lifeguard section IV.B).

Plain SWIM gives each suspected member one fixed timeout. Lifeguard starts with a long one and shortens it with every
independent confirmation, that is with each further member whose own probe failed. So a lone accuser, who may be the
faulty one, has to wait, and K + 1 members that agree are believed quickly:

    timeout(C) = max(Min, Max - (Max - Min) * log(C + 1) / log(K + 1))

         |
     Max |*
         | *                                     Min = suspicion_mult * max(1, log10(n)) * probe interval
         |   *                                   Max = suspicion_max_mult * Min
     Min |       *  *  *                         C   = confirmations so far, K = those needed to be sure
         +--------------- C
          0  1   2  3

If fewer than K others exist who could confirm, K is lowered to their number, counted once when the suspicion begins. If
it fell as more members went silent, a member that is itself cut off would convict all others at the greatest speed.

Another member's verdict counts as K confirmations: it lowers the timeout to Min, and no further. A member that convicts
has itself suspected for Min, so when an honest verdict arrives our own suspicion is as old, and we believe it. A forged
verdict leaves the member Min to refute, like any suspicion.

>>> Suspicion("a", now=0, timeout_min_ns=10, timeout_max_ns=60, confirmations_wanted=3).deadline
60
"""

from __future__ import annotations

import math


def suspicion_timeout_min_ns(mult: int, members: int, probe_interval_ns: int) -> int:
    """Returns Min of the formula above. The logarithm is that of the time a rumour takes to reach n members."""
    return int(mult * max(1.0, math.log10(max(1, members))) * probe_interval_ns)


class Suspicion:
    """One suspicion of one member at one incarnation.

    Invariant: timeout_min <= deadline - (start, moved by postponements) <= timeout_max; confirmations never raise it.
    """

    __slots__ = ("_accusers", "_start_ns", "_timeout_max_ns", "_timeout_min_ns", "_wanted", "verdict")

    def __init__(
        self, accuser: str, now: int, timeout_min_ns: int, timeout_max_ns: int, confirmations_wanted: int
    ) -> None:
        self._accusers = {accuser}
        self._start_ns = now
        self._timeout_min_ns = timeout_min_ns
        self._timeout_max_ns = timeout_max_ns
        self._wanted = confirmations_wanted
        self.verdict: int | None = None
        """The status that others already give the member, DEAD or LEFT."""

    @property
    def confirmations(self) -> int:
        return len(self._accusers) - 1

    @property
    def deadline(self) -> int:
        """When the suspected member counts as dead."""
        if self._wanted < 1 or self.verdict is not None:
            return self._start_ns + self._timeout_min_ns
        # Floating point is safe here: members need not agree on this number.
        weight = math.log(self.confirmations + 1) / math.log(self._wanted + 1)
        spread_ns = self._timeout_max_ns - self._timeout_min_ns
        return self._start_ns + max(self._timeout_min_ns, self._timeout_max_ns - int(spread_ns * weight))

    def confirm(self, accuser: str) -> bool:
        """Counts another member's accusation; returns False if it is not new, or if K are reached already.

        Only a True is worth passing on (Lifeguard section IV.B): so a suspicion is re-gossiped at most K times.
        """
        if accuser in self._accusers or self.confirmations >= self._wanted:
            return False
        self._accusers.add(accuser)
        return True

    def postpone(self, duration_ns: int) -> None:
        """Excludes the time of our own absence."""
        self._start_ns += duration_ns

    def validate(self) -> None:
        assert self.confirmations <= max(0, self._wanted)
        assert self._timeout_min_ns <= self.deadline - self._start_ns <= self._timeout_max_ns
