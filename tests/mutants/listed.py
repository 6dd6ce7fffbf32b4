"""All mutants, by layer."""

from __future__ import annotations

from tests.mutants import consensus_mutants, control_mutants, host_mutants, lockstep_mutants

MUTANTS = (
    *consensus_mutants.MUTANTS,
    *control_mutants.MUTANTS,
    *host_mutants.MUTANTS,
    *lockstep_mutants.MUTANTS,
)
