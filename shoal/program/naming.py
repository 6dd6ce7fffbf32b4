"""Finds the nodes that an operator names in a run's parameters, and which of them are here.

A parameter is text, or a number if it was written as one; ids have the graph's own type. Only the shard that owns the
partition of an id can tell whether the node exists, so that shard refuses unknown names.
"""

from __future__ import annotations

import numpy as np

from shoal.api.errors import BadParameter
from shoal.api.values import cut
from shoal.graph.arrow import pc
from shoal.graph.columns import is_string, plain
from shoal.graph.ids import partition_of
from shoal.graph.shard_graph import ShardGraph
from shoal.program.program import Program

INT64 = np.iinfo(np.int64)


def named_nodes(part: ShardGraph, program: Program) -> dict[str, int | str]:
    """Returns the id, in the graph's own type, for each parameter that is a node's id. Raises `BadParameter`."""
    named: dict[str, int | str] = {}
    for name, param in program.parameters().items():
        if param.node:
            value = getattr(program, name)
            given = "" if value is None else str(value)
            own_node(part, name, given)
            named[name] = _id(part, name, given)
    return named


def own_node(part: ShardGraph, parameter: str, given: str | None) -> int | None:
    """Returns the local index of the named node, None if another shard owns it. Raises `BadParameter`.

    The message is for the operator: no node has this name, or it can't be an id of this graph.
    """
    if given is None or given == "":
        raise BadParameter(f"parameter '{parameter}' is missing: give the id of a node, as in {parameter}=5")
    return _local(part, parameter, _id(part, parameter, given))


def own_nodes(part: ShardGraph, parameter: str, given: str | None) -> tuple[list[int], int]:
    """Returns the local indices of those comma-separated ids that are here, and how many ids were given."""
    if given is None or not given.strip():
        raise BadParameter(f"parameter '{parameter}' is missing: give ids of nodes, as in {parameter}=5,8")
    ids = dict.fromkeys(_id(part, parameter, name.strip()) for name in given.split(","))
    found = [_local(part, parameter, node) for node in ids]
    return sorted(node for node in found if node is not None), len(ids)


def _id(part: ShardGraph, parameter: str, given: str) -> int | str:
    if is_string(part.ids):
        return given
    try:
        number = int(given)
    except ValueError:
        raise BadParameter(
            f"parameter '{parameter}': no node is called '{cut(given)}': the ids of this graph are whole numbers"
        ) from None
    if not INT64.min <= number <= INT64.max:
        raise BadParameter(f"parameter '{parameter}': no node is called '{cut(given)}': ids have 64 bits")
    return number


def _local(part: ShardGraph, parameter: str, node: int | str) -> int | None:
    if partition_of(node, part.partition_count) not in part.partitions:
        return None
    if isinstance(node, str):
        found = int(pc.index(plain(part.ids), node).as_py())
    else:
        at = np.flatnonzero(part.ids == node)
        found = int(at[0]) if len(at) else -1
    if found < 0:
        raise BadParameter(f"parameter '{parameter}': no node is called '{cut(str(node))}' in graph '{part.graph}'")
    return found
