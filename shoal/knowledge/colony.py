"""The program `knowledge`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shoal.colony import Colony, PartitionContext, Place, Signal, Trace
from shoal.colony.tables import TABLES
from shoal.knowledge.digester import BROOD, Digester
from shoal.knowledge.sentinel import Sentinel
from shoal.knowledge.synthesizer import Synthesizer
from shoal.program.declarations import Column, Table
from shoal.program.params import Param
from shoal.query.search import texts_of
from shoal.query.tokenizer import leading_terms

if TYPE_CHECKING:
    from shoal.engine.workspace import Workspace

NEVER: Final = -1
OTHERS: Final = 2
"""How many agents of a partition are not digesters at the start."""


class Knowledge(Colony):
    """Digesters read the nodes' texts and wire concepts; synthesizers find insights, sentinels anomalies."""

    name = "knowledge"
    columns = (Column("digested", np.int64, null=NEVER),)
    agents = (Digester, Synthesizer, Sentinel)
    signals = (Signal("presented", decay=0.05), Signal("alarm", decay=0.5, threshold=0.6))
    traces = (Trace("mention", decay=0.02), Trace("bridged", decay=0.0), Trace("flagged", decay=0.0))
    concept_kinds = ("concept", "insight", "anomaly")
    counters_shown = ("documents_engulfed", "documents_digested", "insights", "anomalies")
    tables = (*TABLES, Table("anomalies", (("document", "string"), ("tick", "int64"), ("label", "string"))))

    text = Param("gloss", "column of the nodes that holds the documents")
    digesters = Param(3, "digesters a partition to begin with", least=0, most=1000)
    digesters_max = Param(
        5, "digesters that a partition brings forth by division, the first ones included", least=1, most=1000
    )
    documents_a_tick = Param(1, "documents that a digester engulfs at once", least=1, most=1000)
    terms = Param(6, "terms of a document that become concepts", least=1, most=64)
    quorum = Param(5.0, "how much a concept has to be presented, lately, to become an insight", least=0.0)
    quorum_documents = Param(5, "and by how many documents", least=1)
    training = Param(20, "ticks in which every concept is self", least=0)
    alien = Param(0.6, "share of a document's terms that are not self in an anomaly", least=0.0, most=1.0)
    edge_decay = Param(0.01, "share of its weight that an edge loses a tick", least=0.0, most=0.5)
    maturation = Param(20, "ticks until an edge is mature", least=0)

    def populate(self, ground: PartitionContext) -> None:
        if not ground.nodes:
            return
        for _ in range(self.digesters):
            ground.spawn(Digester, ground.nodes[0])
        ground.spawn(Synthesizer, ground.nodes[0])
        ground.spawn(Sentinel, ground.nodes[0])

    def prepare(self, ws: Workspace) -> None:
        super().prepare(ws)
        self._texts = texts_of(ws.part, self.text)
        starts = ws.part.starts.tolist()
        self._stretch = {p: (starts[k], starts[k + 1]) for k, p in enumerate(ws.part.partitions)}
        self._digested: NDArray[np.int64] = np.full(ws.part.size, NEVER, np.int64)

    def resume(self, ws: Workspace) -> None:
        super().resume(ws)
        self._digested = ws.pending("digested").copy()

    def advance(self, ws: Workspace) -> None:
        super().advance(ws)
        ws.set("digested", self._digested)

    def rows(self, ws: Workspace, table: str, partition: int) -> Mapping[str, Any]:
        if table != "anomalies":
            return super().rows(ws, table, partition)
        concepts = super().rows(ws, "concepts", partition)
        kinds = np.array(concepts["kind"].to_pylist(), object)
        chosen = np.flatnonzero(kinds == "anomaly")
        documents = [key.partition(":")[2] for key in concepts["key"].take(chosen).to_pylist()]
        return {
            "document": pa.array(documents, pa.string()),
            "tick": concepts["created"][chosen],
            "label": concepts["label"].take(chosen),
        }

    # -- what agents call ------------------------------------------------------------------------------------------

    def document(self, partition: int, place: int) -> Place | None:
        """Returns the document of an own partition at this position in ordinal order, or None after the last."""
        first, last = self._stretch[partition]
        return Place.node(int(self.part.ordinals[first + place])) if first + place < last else None

    def documents_left(self, partition: int) -> int:
        """Returns how many documents of a partition have not been engulfed."""
        first, last = self._stretch[partition]
        return int(last - first) - self.counters["documents_engulfed"].get(partition, 0)

    def terms_of(self, document: Place) -> list[str]:
        """Returns the leading terms of a document."""
        return leading_terms(self._texts[self.sight.local(document)], self.terms)

    def digested(self, document: Place) -> None:
        """Counts a document as digested in this tick."""
        self._digested[self.sight.local(document)] = self.tick

    def may_divide(self, partition: int) -> bool:
        """Returns whether a digester of that partition may divide: much is left to do, and few were born there."""
        digesters = self.counters["born"][partition] - OTHERS
        return self.documents_left(partition) > BROOD and digesters < self.digesters_max
