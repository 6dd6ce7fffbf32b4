"""Suspicion: the time a silent member has to refute it (SWIM section 4.2, Lifeguard section IV.B).

Plain SWIM gives each suspected member one fixed timeout. Lifeguard starts with a long one and shortens it with every
independent confirmation, that is with each further member whose own probe failed. So a lone accuser, who may be the
faulty one, has to wait, and K + 1 members that agree are believed quickly:

    timeout(C) = max(Min, Max - (Max - Min) * log(C + 1) / log(K + 1))

         |
     Max |*
         | *                                     Min = suspicion_mult * max(1, log10(n)) * probe interval
         |   *                                   Max = suspicion_max_mult * Min
     Min |       *  *  *                         C   = confirmations so far, K = those that make us sure
         +--------------- C
          0  1   2  3

If fewer than K others exist who could confirm, K is lowered to their number, counted when the suspicion begins and
never after. If it fell as more members went silent, a member that is itself cut off would convict all others at the
greatest speed.

Somebody else's verdict counts as K confirmations, so the timeout becomes Min, and never less. A member that convicts
has itself suspected for Min, so when an honest verdict arrives our own suspicion is as old, and we believe it. A forged
verdict leaves the member Min to refute, like any suspicion.

>>> Suspicion("a", now=0, timeout_min_ns=10, timeout_max_ns=60, confirmations_wanted=3).deadline
60
"""

from __future__ import annotations

import math


def suspicion_timeout_min_ns(mult: int, members: int, probe_interval_ns: int) -> int:
    """Min of the formula above. The logarithm is that of the time a rumour takes to reach n members."""
    return int(mult * max(1.0, math.log10(max(1, members))) * probe_interval_ns)


class Suspicion:
    """One suspicion of one member at one incarnation.

    Invariant: timeout_min <= deadline - (start, moved by postponements) <= timeout_max; it never grows by confirmation.
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
        """The status that others give the member already, DEAD or LEFT."""

    @property
    def confirmations(self) -> int:
        return len(self._accusers) - 1

    @property
    def deadline(self) -> int:
        """When the suspected member is to be taken for dead."""
        if self._wanted < 1 or self.verdict is not None:
            return self._start_ns + self._timeout_min_ns
        # Floating point is safe here: no two members need to agree on this number.
        weight = math.log(self.confirmations + 1) / math.log(self._wanted + 1)
        spread_ns = self._timeout_max_ns - self._timeout_min_ns
        return self._start_ns + max(self._timeout_min_ns, self._timeout_max_ns - int(spread_ns * weight))

    def confirm(self, accuser: str) -> bool:
        """Another member says so too. False if that is no news, or if we are sure enough already.

        Only a True is worth passing on (Lifeguard section IV.B): a suspicion is so re-gossiped K times at most.
        """
        if accuser in self._accusers or self.confirmations >= self._wanted:
            return False
        self._accusers.add(accuser)
        return True

    def postpone(self, duration_ns: int) -> None:
        """The time of our own absence does not count against the suspected member."""
        self._start_ns += duration_ns

    def validate(self) -> None:
        assert self.confirmations <= max(0, self._wanted)
        assert self._timeout_min_ns <= self.deadline - self._start_ns <= self._timeout_max_ns
