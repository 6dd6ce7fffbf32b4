"""All commands of the admin socket, one file a feature. See `shoal.api.command` for what a command is.

A new command is a class here, its handler in `daemon/services/<feature>/commands.py`, and a test. What it is called,
takes, does and replies is said here and nowhere else.
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
"""In the order in which they are declared."""
BY_NAME: Final[Mapping[str, Contract]] = {contract.name: contract for contract in CONTRACTS}

assert len(BY_NAME) == len(CONTRACTS), "two commands have one name"
