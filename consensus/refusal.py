"""Why an order was refused: a typed answer for the caller, never a broken assertion."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Each value is a sentence for people; programs compare the members."""

    NOT_LEADER = "this server is not the leader; send the order to the leader"
    ALREADY_LEADER = "this server leads already"
    NOT_VOTER = "the server is not a voter, and only voters can lead"
    NOT_READY = "the leader has not yet committed an entry of its own term; try again shortly"
    CHANGE_PENDING = "a change of the configuration is not committed yet; one is made at a time"
    UNKNOWN_SERVER = "no server of that name is in the configuration"
    UNNAMED = "a server needs a name"
    UNCHANGED = "the configuration is already so"
    LAST_VOTER = "the last voter can't be removed or demoted"
    TOO_MANY_VOTERS = "there are as many voters as are allowed; add the server as a learner"
    TRANSFER_IN_PROGRESS = "leadership is being transferred; try again at the next leader"
    QUEUE_FULL = "too many proposals are not committed yet; try again when some are"
    TOO_MANY_READS = "too many reads are waiting already; try again when some are answered"
    EMPTY = "an empty command is what a leader's no-op looks like; propose at least one byte"
    TOO_LARGE = "more bytes than one message may carry"
    OUT_OF_RANGE = "only an index that is committed and not yet in a snapshot can be compacted"


class Refused(Exception):
    """An order that changed nothing; ``leader`` is the server to ask instead, if known."""

    def __init__(self, reason: Reason, leader: str | None = None) -> None:
        super().__init__(f"{reason.value} (leader: {leader or 'unknown'})")
        self.reason = reason
        self.leader = leader
