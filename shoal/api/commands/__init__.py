"""All commands of the admin socket, one file per feature; `shoal.api.command` describes their declarations.

A new command needs a class here, a handler in `daemon/services/<feature>/commands.py`, and a test. The class alone
declares its name, arguments, help and reply.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shoal.api.command import Command, Contract
from shoal.api.commands import cluster, graphs, programs, results, runs

__all__ = ["BY_NAME", "CONTRACTS", "cluster", "graphs", "programs", "results", "runs"]

CONTRACTS: Final[tuple[Contract, ...]] = tuple(
    declared.contract
    for module in (cluster, graphs, runs, results, programs)
    for declared in vars(module).values()
    if isinstance(declared, type) and issubclass(declared, Command) and declared is not Command
)
"""All commands, in the order of their declarations."""
BY_NAME: Final[Mapping[str, Contract]] = {contract.name: contract for contract in CONTRACTS}

assert len(BY_NAME) == len(CONTRACTS), "two commands have the same name"
