"""The program that runs a colony: phases of agents over a substrate that is stored by partition.

Sense      every agent observes its partition, as the last tick left it
Act        every agent acts, in the order of ids; concepts let go of edges beyond `degree_max`; all actions are
           mailed to the partitions that they affect
Decay      everything fades, the mail is applied, travelling agents arrive
Advance    figures; questions about ghosts, and answers to those of the last tick
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from shoal.api.errors import UnknownColumn, did_you_mean
from shoal.colony.agent_context import AgentContext, PartitionContext
from shoal.colony.agents import Agent, from_record, to_record
from shoal.colony.kept import Restoring, Snapshot
from shoal.colony.keyed_table import left_of, right_of
from shoal.colony.local_view import LocalView
from shoal.colony.outbox import ACTS, ASKS, FACTS, Outbox
from shoal.colony.places import Place, partition_by_name
from shoal.colony.substrate import Plasticity, Signal, Substrate, Trace
from shoal.colony.tables import TABLES, table_rows
from shoal.engine.exchange.carrier import pack_arrays, pack_sections, split_arrays, split_sections
from shoal.program.declarations import Aggregate, Mail, Merge, Table
from shoal.program.params import Param
from shoal.program.program import Program
from shoal.program.ragged import Ragged

if TYPE_CHECKING:
    from shoal.engine.workspace import Workspace

Array = NDArray[Any]
COUNTED: Final = ("born", "died", "moved", "edges_pruned", "edges_let_go")
HELD: Final = ("agents", "concepts", "edges", "cross_partition_edges", "ghosts", "ghosts_resolved")
BIRTHS_BITS: Final = 40
"""An agent's id is its partition of birth, followed in this many bits by the number of earlier births there."""


class Colony(Program):
    """Base class of colonies: declare `agents`, `signals`, `traces`, `counters_shown`, and override `populate`."""

    agents: ClassVar[tuple[type[Agent], ...]] = ()
    signals: ClassVar[tuple[Signal, ...]] = ()
    traces: ClassVar[tuple[Trace, ...]] = ()
    concept_kinds: ClassVar[tuple[str, ...]] = ("concept",)
    counters_shown: ClassVar[tuple[str, ...]] = ()
    """Counters of the colony's own (`here.count`); each is also a figure of the run."""

    mail: ClassVar[tuple[Mail, ...]] = (*ACTS, ASKS, FACTS)
    tables: ClassVar[tuple[Table, ...]] = TABLES
    saves = True
    ticks_default = 100

    seed = Param(1, "seed of all that is random")
    edge_decay = Param(0.005, "share of its weight that an edge loses a tick", least=0.0, most=0.5)
    prune_below = Param(0.05, "a mature edge that is weaker than that is pruned", least=0.0, most=1.0)
    maturation = Param(50, "ticks until an edge is mature", least=0)
    staleness = Param(1.5, "how much faster an edge fades that has not been used for 100 ticks", least=0.0)
    degree_max = Param(30, "edges that a concept keeps", least=1)
    reinforcement = Param(0.1, "weight that an edge gains each time", least=0.0, most=1.0)

    def __init_subclass__(cls) -> None:
        shown = (*HELD, *COUNTED, *cls.counters_shown)
        own = tuple(each for each in cls.aggregates if each.name not in shown)
        cls.aggregates = (*(Aggregate(name, Merge.SUM, np.int64, shown=True) for name in shown), *own)

    def populate(self, ground: PartitionContext) -> None:
        """Creates the first agents; called once for each partition, before the first tick."""

    def remember(self, partition: int) -> bytes:
        """Returns the state that a colony keeps of a partition beside agents and the substrate."""
        return b""

    def recall(self, partition: int, state: memoryview) -> None:
        """Restores what `remember` returned. Raises `ValueError` for other bytes."""

    # -- life of the run -------------------------------------------------------------------------------------------

    def prepare(self, ws: Workspace) -> None:
        part = self.part = ws.part
        self.partition_by_name = partition_by_name(part.partition_table, part.partition_count)
        rule = Plasticity(
            self.edge_decay, self.prune_below, self.maturation, self.staleness, self.degree_max, self.reinforcement
        )
        self.substrate = Substrate(self.partition_by_name, part.partition_count, self.signals, self.traces, rule)
        self._restoring = Restoring(self.substrate)
        self.mail_out = Outbox(self.partition_by_name)
        self.tick = ws.tick
        self.alive: dict[int, dict[int, Agent]] = {partition: {} for partition in part.partitions}
        """By partition and id, ascending."""
        self.dying: set[int] = set()
        self.counters: dict[str, dict[int, int]] = {name: {} for name in (*COUNTED, *self.counters_shown)}
        self._kinds = {kind.kind: kind for kind in self.agents}
        self._records: dict[int, list[bytes]] = {}
        self._snapshot: Snapshot | None = None
        self.sight = LocalView(self)

    def start(self, ws: Workspace) -> None:
        starts = self.part.starts.tolist()
        for k, partition in enumerate(self.part.partitions):
            self.populate(PartitionContext(self, partition, self.part.ordinals[starts[k] : starts[k + 1]].tolist()))
        self._keep_records()
        self.advance(ws)

    def resume(self, ws: Workspace) -> None:
        self._restoring.finish()

    def save(self, ws: Workspace, partition: int) -> bytes:
        records = Ragged.of_bytes(self._records[partition])
        counted = np.array([each.get(partition, 0) for each in self.counters.values()], np.int64)
        sections = [
            self.snapshot.piece(partition),
            pack_arrays([records.lengths, records.values]),
            pack_arrays([counted]),
            self.remember(partition),
        ]
        return pack_sections(sections)

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        piece, agents, counted, own = split_sections(state, 4)
        self._restoring.take(partition, piece)
        lengths, values = split_arrays(agents, [np.int64, np.uint8])
        records = self._records[partition] = Ragged.of_lengths(lengths, values).to_bytes()
        found = [from_record(record, self._kinds) for record in records]
        self.alive[partition] = {agent.id: agent for agent in found}
        (numbers,) = split_arrays(counted, [np.int64])
        for counter, number in zip(self.counters.values(), numbers.tolist(), strict=True):
            counter[partition] = number
        self.recall(partition, own)

    def difference(self, other: Program) -> str:
        assert isinstance(other, Colony)
        for partition, agents in self.alive.items():
            for identity, agent in agents.items():
                theirs = other.alive[partition].get(identity)
                if theirs is None or to_record(agent) != to_record(theirs):
                    resumed = f"{theirs.memory} when resumed" if theirs is not None else "not there when resumed"
                    return f"{agent} remembers {agent.memory}, and {resumed}"
        return ""

    def rows(self, ws: Workspace, table: str, partition: int) -> Mapping[str, Any]:
        return table_rows(self, table, partition)

    @property
    def snapshot(self) -> Snapshot:
        """The substrate in its canonical order, computed once a tick."""
        if self._snapshot is None:
            self._snapshot = Snapshot(self.substrate)
        return self._snapshot

    # -- phases ----------------------------------------------------------------------------------------------------

    def sense(self, ws: Workspace) -> None:
        self.tick = ws.tick
        self.sight.forget()
        for partition, agents in self.alive.items():
            for agent in agents.values():
                self._let(agent, "sense", AgentContext(self, agent, partition, acts=False))

    def act(self, ws: Workspace) -> None:
        for partition, agents in self.alive.items():
            for agent in list(agents.values()):
                here = AgentContext(self, agent, partition, acts=True)
                self._let(agent, "act", here)
                agent.age += 1
                agent.idle = 0 if here.did else agent.idle + 1
                if agent.idle_max is not None and agent.idle > agent.idle_max:
                    self.dying.add(agent.id)
                if agent.id not in self.dying and self.partition_of(agent.place) != partition:
                    self.mail_out.agent(partition, agent.place.name, to_record(agent))
                    self.count("moved", partition, 1)
                    del agents[agent.id]
            self._bury(partition)
        for key in self.substrate.beyond_the_bound().tolist():
            names = self.substrate.names
            self.mail_out.cut(names[key >> 32], names[key & 0xFFFFFFFF])
        self.mail_out.post(ws)

    def decay(self, ws: Workspace) -> None:
        substrate, tick = self.substrate, ws.tick
        self._snapshot = None
        self.sight.forget()
        substrate.forget_names()
        substrate.fade()
        self._count_edges("edges_pruned", substrate.decay_edges(tick))
        self._count_edges("edges_let_go", substrate.take_cuts(ws.received("cuts")))
        substrate.take_concepts(ws.received("concepts"), tick)
        substrate.take_wires(ws.received("wires"), tick)
        substrate.take_signals(ws.received("signals"))
        substrate.take_traces(ws.received("traces"), tick)
        substrate.take_facts(ws.received("facts"), tick)
        self._welcome(ws)
        for partition, agents in self.alive.items():
            for agent in list(agents.values()):
                self._let(agent, "decay", AgentContext(self, agent, partition, acts=False))
            self._bury(partition)
        self._keep_records()

    def advance(self, ws: Workspace) -> None:
        self._answer(ws)
        self._ask(ws)
        for name, counter in self.counters.items():
            ws.contribute_by_partition(name, [counter.get(partition, 0) for partition in self.part.partitions])
        for name, numbers in self._held().items():
            ws.contribute_by_partition(name, numbers)

    def halted(self, ws: Workspace) -> bool:
        """Returns whether no agent is left."""
        return ws.tick > 0 and int(ws.total("agents")) == 0

    # -- agents ----------------------------------------------------------------------------------------------------

    def bear(self, kind: type[Agent], at: Place, partition: int, memory: Mapping[str, Any]) -> None:
        """Creates an agent; before the first tick it is present at once."""
        if kind not in self.agents:
            raise ValueError(f"colony '{self.name}' declares no agent {kind.__name__}: name it in `agents`")
        number = self.counters["born"].get(partition, 0)
        agent = kind(partition << BIRTHS_BITS | number, at)
        for name, value in memory.items():
            setattr(agent, name, value)
        self.count("born", partition, 1)
        if self.tick:
            self.mail_out.agent(partition, at.name, to_record(agent, shared=True))
        elif self.partition_of(at) != partition:
            raise ValueError(f"{agent}: before the first tick, agents can only be placed in partition {partition}")
        else:  # via a record, as for later births, because several agents may have received the same list
            self.alive[partition][agent.id] = from_record(to_record(agent, shared=True), self._kinds)

    def count(self, counter: str, partition: int, times: int) -> None:
        """Adds to a counter."""
        self.check_known(counter, self.counters, "counter")
        self.counters[counter][partition] = self.counters[counter].get(partition, 0) + times

    def _let(self, agent: Agent, phase: str, here: AgentContext) -> None:
        try:
            getattr(agent, phase)(here)
        except Exception as error:
            error.add_note(f"{agent}, in {phase} of tick {self.tick}")
            raise

    def _bury(self, partition: int) -> None:
        gone = sorted(self.dying & self.alive[partition].keys())
        for identity in gone:
            del self.alive[partition][identity]
        if gone:
            self.count("died", partition, len(gone))
        self.dying.difference_update(gone)

    def _welcome(self, ws: Workspace) -> None:
        arrived = ws.received("agents")
        field = arrived.fields["record"]
        assert isinstance(field, Ragged)
        for partition, record in zip(arrived.partitions.tolist(), field.to_bytes(), strict=True):
            agent = from_record(record, self._kinds)
            self.alive[partition][agent.id] = agent
        for partition in sorted(set(arrived.partitions.tolist())):
            self.alive[partition] = dict(sorted(self.alive[partition].items()))

    def _keep_records(self) -> None:
        """Packs all agents in every tick, so that memory that cannot be saved ends the run in the tick that made it."""
        self._records = {
            partition: [to_record(agent) for agent in agents.values()] for partition, agents in self.alive.items()
        }

    # -- ghosts and figures ----------------------------------------------------------------------------------------

    def _ask(self, ws: Workspace) -> None:
        """Asks the owners about the ghosts of this tick, by name."""
        names, keys = self.substrate.names, self.substrate.unasked
        self.substrate.unasked = np.empty(0, np.int64)
        if len(keys):
            number = right_of(keys)
            order = np.argsort(names.ranks[number])
            number = number[order]
            ws.send("asks", left_of(keys)[order], names.partitions[number], key=names.names(number.tolist()))

    def _answer(self, ws: Workspace) -> None:
        asks, concepts = ws.received("asks"), self.substrate.concepts
        field = asks.fields["key"]
        assert isinstance(field, Ragged)
        rows = concepts.find(self.substrate.names.numbers(field))
        known = np.flatnonzero(rows >= 0)
        if len(known):
            facts = {column: concepts[column][rows[known]] for column in ("kind", "accesses", "created")}
            ws.send("facts", asks.partitions[known], asks.senders[known], key=field.take(known), **facts)

    def _held(self) -> dict[str, Array]:
        substrate, places = self.substrate, self.substrate.names.partitions
        halves, ghosts = substrate.halves, substrate.ghosts
        keys = halves.keys[halves["lesser"]]
        near, far = places[left_of(keys)], places[right_of(keys)]
        by_partition = {
            "concepts": places[substrate.concepts.keys],
            "edges": near,
            "cross_partition_edges": near[near != far],
            "ghosts": left_of(ghosts.keys),
            "ghosts_resolved": left_of(ghosts.keys[ghosts["resolved"] >= 0]),
        }
        own = np.array(self.part.partitions, np.int64)
        held = {name: np.bincount(of, minlength=self.part.partition_count)[own] for name, of in by_partition.items()}
        return held | {"agents": np.array([len(agents) for agents in self.alive.values()], np.int64)}

    def _count_edges(self, counter: str, halves: Array) -> None:
        """Counts each edge in the partition of its lesser end."""
        names = self.substrate.names
        mine = halves[names.lesser(left_of(halves), right_of(halves))]
        for partition, times in zip(*np.unique(names.partitions[left_of(mine)], return_counts=True), strict=True):
            self.count(counter, int(partition), int(times))

    # -- what it declares -------------------------------------------------------------------------------------------

    def partition_of(self, place: Place) -> int:
        """Returns the partition of a place."""
        return self.partition_by_name(place.name)

    def signal_number(self, kind: str) -> int:
        """Returns the position of a kind of signal among those declared."""
        return self._number(kind, [each.name for each in self.signals], "signal")

    def trace_number(self, kind: str) -> int:
        """Returns the position of a kind of trace."""
        return self._number(kind, [each.name for each in self.traces], "trace")

    def kind_number(self, kind: str) -> int:
        """Returns the position of a kind of concept."""
        return self._number(kind, list(self.concept_kinds), "kind of concept")

    def _number(self, name: str, declared: list[str], what: str) -> int:
        self.check_known(name, declared, what)
        return declared.index(name)

    def check_known(self, name: str, declared: Any, what: str) -> None:
        """Raises `UnknownColumn` for a name that is not declared."""
        if name not in declared:
            raise UnknownColumn(f"colony '{self.name}' has no {what} '{name}'{did_you_mean(name, declared)}")
