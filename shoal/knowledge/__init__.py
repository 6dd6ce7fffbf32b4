"""The knowledge colony: agents read the texts of a graph's nodes and build a graph of concepts from them.

    Digester      engulfs documents of its partition, and in the next tick presents their leading terms as concepts and
                  wires those of one document with each other; divides while there is much to do, moves on when
                  there is nothing, and dies if that does not help
    Synthesizer   watches how often its partition's concepts are presented; if enough documents present one in a
                  short time (a quorum), it makes an insight of it, wired to it and to its strongest neighbours
    Sentinel      considers all concepts of the first ticks *self*; later, each mention of any other raises an alarm at
                  the document, and a document with alarms for most of its terms is an anomaly

A concept belongs to the partition that its name hashes to, so the terms of one document are in many partitions, and
most edges lead from one partition to another.
"""

from shoal.knowledge.colony import Knowledge

__all__ = ["Knowledge"]
