"""Sentences of Ongaro's "Consensus: Bridging Theory and Practice", each with its section, as tests of one server."""

from __future__ import annotations

from random import Random

import pytest

from consensus import (
    Append,
    AppendReply,
    BecameLeader,
    Committed,
    Configuration,
    Effect,
    Entry,
    HardState,
    LeaderChanged,
    Limits,
    Message,
    Persist,
    PreVoteReply,
    PreVoteRequest,
    Raft,
    Reason,
    Refused,
    Restored,
    Role,
    Send,
    Snapshot,
    Stored,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from tests.consensus.synced import installed, synced

MS = 1_000_000
LIMITS = Limits(heartbeat_interval_ns=100 * MS, election_timeout_ns=1_000 * MS, uncommitted_max=3)


def server(*terms: int, term: int = 0, voters: str = "abc", vote: str | None = None) -> Raft:
    """Server a with a log of these terms; the first stands in the snapshot."""
    first = Stored.bootstrap(Configuration.of(voters)).snapshot
    entries = tuple(Entry(index, each, b"x") for index, each in enumerate(terms[1:], start=2))
    stored = Stored(HardState(term or terms[-1], vote), first, entries)
    return Raft("a", stored, LIMITS, Random(1), now=0)


def leader(*terms: int, voters: str = "abc", commits: bool = True) -> Raft:
    """Server a, elected by all, its no-op committed if wanted."""
    raft = server(*(terms or (1,)), voters=voters)
    raft.campaign(0)
    peers = [name for name in voters if name != "a"]
    for peer in peers:
        raft.step(peer, PreVoteReply(raft.term + (raft.role is Role.PRE_CANDIDATE), True), 0)
    for peer in peers:
        synced(raft, raft.step(peer, VoteReply(raft.term, True), 0))
    assert raft.is_leader
    if commits:
        for peer in peers:
            raft.step(peer, AppendReply(raft.term, True, raft.last_index), 0)
        assert raft.commit_index == raft.last_index
    return raft


def sent(effects: list[Effect], to: str | None = None) -> list[Message]:
    return [effect.message for effect in effects if isinstance(effect, Send) and to in (None, effect.to)]


def test_3_3_if_a_candidate_or_leader_discovers_that_its_term_is_out_of_date_it_reverts_to_follower() -> None:
    raft = leader()
    effects = raft.step("b", AppendReply(9, False, 0), 0)
    assert (raft.role, raft.term, raft.vote) == (Role.FOLLOWER, 9, None)
    assert effects == [Persist(HardState(9, None)), LeaderChanged(9, None)]


def test_3_3_if_a_server_receives_a_request_with_a_stale_term_number_it_rejects_the_request() -> None:
    raft = server(1, 5)
    assert sent(raft.step("b", VoteRequest(4, 99, 3), 0)) == [VoteReply(5, False)]
    assert sent(raft.step("b", PreVoteRequest(4, 99, 3), 0)) == [PreVoteReply(5, False)]
    assert sent(raft.step("b", Append(4, 1, 1, (), 0), 0)) == [AppendReply(5, False, 0)]
    assert sent(raft.step("b", TimeoutNow(4), 0)) == []


def test_3_4_each_server_will_vote_for_at_most_one_candidate_in_a_given_term_first_come_first_served() -> None:
    raft = server(1)
    first = raft.step("b", VoteRequest(2, 1, 1), 0)
    assert first == [Persist(HardState(2, "b")), Send("b", VoteReply(2, True))]
    assert sent(raft.step("c", VoteRequest(2, 1, 1), 0)) == [VoteReply(2, False)]
    assert sent(raft.step("b", VoteRequest(2, 1, 1), 0)) == [VoteReply(2, True)]


def test_3_8_a_vote_survives_a_restart() -> None:
    raft = server(1, term=2, vote="b")
    assert sent(raft.step("c", VoteRequest(2, 1, 1), 0)) == [VoteReply(2, False)]


def test_3_4_election_timeouts_are_chosen_randomly_from_a_fixed_interval() -> None:
    first = Stored.bootstrap(Configuration.of("abc"))
    deadlines = {Raft("a", first, LIMITS, Random(seed), now=0).deadline for seed in range(100)}
    assert len(deadlines) == 100
    assert all(1_000 * MS <= (deadline or 0) < 2_000 * MS for deadline in deadlines)


def test_waking_too_early_or_twice_does_nothing() -> None:
    raft = server(1)
    assert raft.deadline is not None
    assert raft.wake(raft.deadline - 1) == []
    due = raft.deadline
    assert raft.wake(due) != []
    assert raft.wake(due) == []


@pytest.mark.parametrize(
    ("last_term", "last_index", "granted"),
    [(3, 1, True), (2, 3, True), (2, 4, True), (2, 2, False), (1, 9, False)],
)
def test_3_6_1_the_voter_denies_its_vote_if_its_own_log_is_more_up_to_date(
    last_term: int, last_index: int, granted: bool
) -> None:
    raft = server(1, 2, 2)
    assert sent(raft.step("b", PreVoteRequest(7, last_index, last_term), 0)) == [
        PreVoteReply(7 if granted else 2, granted)
    ]
    assert sent(raft.step("b", VoteRequest(7, last_index, last_term), 0)) == [VoteReply(7, granted)]


def test_3_6_2_raft_never_commits_log_entries_from_previous_terms_by_counting_replicas() -> None:
    raft = leader(1, 2, 2, commits=False)
    raft.step("b", AppendReply(3, True, 3), 0)
    assert raft.commit_index == 1
    effects = raft.step("b", AppendReply(3, True, 4), 0)
    assert [entry.index for effect in effects if isinstance(effect, Committed) for entry in effect.entries] == [2, 3, 4]


def test_6_4_the_leader_commits_a_blank_no_op_entry_at_the_start_of_its_term() -> None:
    raft = leader(commits=False)
    assert raft.log.entry(raft.last_index) == Entry(2, 2)
    assert not raft.log.entry(raft.last_index).is_command


def test_3_8_a_persist_comes_before_every_send_that_relies_on_it() -> None:
    raft = leader()
    kinds = [type(effect) for effect in raft.propose([b"x"], 0)]
    assert kinds == [Persist, Send, Send]
    follower = server(1)
    kinds = [type(effect) for effect in follower.step("b", Append(2, 1, 1, (Entry(2, 2, b"x"),), 2), 0)]
    assert kinds == [Persist, LeaderChanged, Send, Committed]


def test_3_5_a_late_append_does_not_shorten_the_log() -> None:
    raft = server(1)
    both = (Entry(2, 2, b"x"), Entry(3, 2, b"y"))
    raft.step("b", Append(2, 1, 1, both, 1), 0)
    effects = raft.step("b", Append(2, 1, 1, both[:1], 1), 0)
    assert effects == [Send("b", AppendReply(2, True, 2))]
    assert raft.last_index == 3


def test_3_5_the_commit_index_goes_no_further_than_what_the_message_vouched_for() -> None:
    # Our 3/1 may conflict with the leader's; that it has committed up to 3 says nothing about ours.
    raft = server(1, 1, 1)
    raft.step("b", Append(2, 2, 1, (), 3), 0)
    assert raft.commit_index == 2
    assert raft.last_index == 3


def test_3_5_the_follower_can_include_the_term_of_the_conflicting_entry_and_the_first_index_it_stores_for_it() -> None:
    raft = server(1, 2, 3, 3, 3)
    reply = sent(raft.step("b", Append(6, 4, 2, (), 1), 0))
    assert reply == [AppendReply(6, False, 4, conflict_term=3, conflict_index=3)]
    reply = sent(raft.step("b", Append(6, 9, 5, (), 1), 0))
    assert reply == [AppendReply(6, False, 9, conflict_term=0, conflict_index=6)]


def test_4_1_a_server_always_uses_the_latest_configuration_in_its_log_committed_or_not() -> None:
    raft = leader()
    synced(raft, raft.add_server("d", True, 0))
    assert raft.commit_index < raft.last_index
    assert raft.configuration.voters == ("a", "b", "c", "d")
    # Three of four are needed now: b alone does not do.
    raft.step("b", AppendReply(2, True, 3), 0)
    assert raft.commit_index == 2
    raft.step("d", AppendReply(2, True, 3), 0)
    assert raft.commit_index == 3


def test_4_1_if_the_entry_is_removed_the_server_falls_back_to_the_configuration_before() -> None:
    raft = server(1)
    changed = Configuration.of("abcd")
    raft.step("b", Append(2, 1, 1, (Entry(2, 2, configuration=changed),), 1), 0)
    assert raft.configuration == changed
    effects = raft.step("c", Append(3, 1, 1, (Entry(2, 3),), 1), 0)
    assert raft.configuration == Configuration.of("abc")
    assert effects[0] == Persist(HardState(3), None, 2, (Entry(2, 3),))


def test_4_1_one_change_at_a_time() -> None:
    raft = leader()
    raft.add_server("d", True, 0)
    with pytest.raises(Refused) as refused:
        raft.remove_server("b", 0)
    assert refused.value.reason is Reason.CHANGE_PENDING


def test_the_correction_of_2015_a_leader_must_have_committed_an_entry_of_its_term() -> None:
    raft = leader(commits=False)
    with pytest.raises(Refused) as refused:
        raft.add_server("d", True, 0)
    assert refused.value.reason is Reason.NOT_READY
    raft.step("b", AppendReply(2, True, 2), 0)
    raft.add_server("d", True, 0)


def test_4_1_a_server_votes_for_a_candidate_that_is_not_in_its_configuration() -> None:
    raft = server(1)
    assert sent(raft.step("z", VoteRequest(2, 5, 1), 0)) == [VoteReply(2, True)]


def test_4_1_a_server_accepts_appends_from_a_leader_that_is_not_in_its_configuration() -> None:
    raft = Raft("n", Stored(), LIMITS, Random(1), now=0)
    assert raft.deadline is None
    first = Snapshot(1, 1, Configuration.of("abc"), (b"state",))
    installed(raft, "a", 2, first)
    raft.step("a", Append(2, 1, 1, (Entry(2, 2, b"x"),), 2), 0)
    assert (raft.commit_index, raft.configuration) == (2, first.configuration)
    assert raft.deadline is None


def test_4_2_1_non_voting_members_are_not_counted() -> None:
    raft = leader(voters="ab")
    synced(raft, raft.add_server("d", False, 0))
    raft.step("d", AppendReply(2, True, 3), 0)
    assert raft.commit_index == 2
    assert raft.is_caught_up("d")
    raft.step("b", AppendReply(2, True, 3), 0)
    assert raft.commit_index == 3


def test_4_2_2_a_removed_leader_replicates_but_does_not_count_itself_and_steps_down_once_committed() -> None:
    raft = leader()
    raft.remove_server("a", 0)
    raft.step("b", AppendReply(2, True, 3), 0)
    assert raft.is_leader
    assert raft.commit_index == 2
    effects = raft.step("c", AppendReply(2, True, 3), 0)
    assert raft.role is Role.FOLLOWER
    assert raft.deadline is None
    assert TimeoutNow(2) in sent(effects)
    assert LeaderChanged(2, None) in effects


def test_4_2_2_a_server_that_is_not_part_of_its_own_latest_configuration_should_still_start_elections() -> None:
    raft = server(1)
    raft.step("b", Append(2, 1, 1, (Entry(2, 2, configuration=Configuration.of("bc")),), 1), 0)
    assert raft.deadline is not None
    assert sent(raft.wake(raft.deadline), to="b") == [PreVoteRequest(3, 2, 2)]
    raft.step("b", Append(2, 2, 2, (), 2), 0)
    assert raft.deadline is None


def test_4_2_3_a_request_within_the_minimum_election_timeout_of_hearing_from_a_leader_is_dropped() -> None:
    raft = server(1)
    raft.step("b", Append(2, 1, 1, (), 1), 0)
    assert raft.step("c", VoteRequest(9, 9, 8), 999 * MS) == []
    assert raft.step("c", PreVoteRequest(9, 9, 8), 999 * MS) == []
    assert raft.term == 2
    assert sent(raft.step("c", VoteRequest(9, 9, 8), 1_000 * MS)) == [VoteReply(9, True)]


def test_4_2_3_a_removed_server_does_not_depose_the_leader() -> None:
    raft = leader()
    assert raft.step("z", VoteRequest(9, 9, 8), 0) == []
    assert raft.step("z", PreVoteRequest(9, 9, 8), 0) == []
    assert raft.step("z", AppendReply(9, False, 0), 0) == []
    assert raft.step("z", VoteReply(9, False), 0) == []
    assert raft.is_leader
    assert raft.term == 2


def test_4_2_3_a_transfer_is_exempt() -> None:
    raft = server(1)
    raft.step("b", Append(2, 1, 1, (), 1), 0)
    assert sent(raft.step("c", VoteRequest(3, 1, 1, transfer=True), 1)) == [VoteReply(3, True)]


def test_6_2_a_leader_steps_down_if_an_election_timeout_elapses_without_a_majority_answering() -> None:
    raft = leader(voters="abcde")
    for now in range(0, 2_000, 100):
        raft.wake(now * MS)
        for peer in "bc":
            raft.step(peer, AppendReply(2, True, 2), now * MS)
    assert raft.is_leader
    heard_last = 1_900 * MS
    for now in range(2_000, 2_900, 100):
        raft.wake(now * MS)
        raft.step("b", AppendReply(2, True, 2), now * MS)
        assert raft.is_leader
    assert raft.deadline == heard_last + LIMITS.election_timeout_ns
    assert raft.wake(raft.deadline) == [LeaderChanged(2, None)]


def test_9_6_a_pre_candidate_does_not_increment_its_term_unless_a_majority_would_vote_for_it() -> None:
    raft = server(1)
    assert raft.deadline is not None
    for _ in range(10):
        assert set(map(type, raft.wake(raft.deadline))) == {Send}
    assert raft.term == 1
    raft.step("b", PreVoteReply(2, True), raft.deadline)
    assert (raft.term, raft.role) == (2, Role.CANDIDATE)


def test_3_10_the_prior_leader_stops_accepting_requests_and_resumes_after_an_election_timeout() -> None:
    raft = leader()
    assert sent(raft.transfer_leadership("b", 0), to="b") == [TimeoutNow(2)]
    with pytest.raises(Refused) as refused:
        raft.propose([b"x"], 0)
    assert (refused.value.reason, refused.value.leader) == (Reason.TRANSFER_IN_PROGRESS, "b")
    for peer in "bc":
        raft.step(peer, AppendReply(2, True, 2), 900 * MS)
    raft.wake(1_000 * MS)
    raft.propose([b"x"], 1_000 * MS)


def test_3_10_the_prior_leader_sends_its_log_to_the_target_first() -> None:
    raft = leader()
    raft.propose([b"x"], 0)
    assert sent(raft.transfer_leadership("b", 0)) == []
    assert TimeoutNow(2) not in sent(raft.step("c", AppendReply(2, True, 3), 0))
    assert TimeoutNow(2) in sent(raft.step("b", AppendReply(2, True, 3), 0))


def test_3_10_the_target_starts_an_election_at_once_without_a_pre_vote() -> None:
    raft = server(1)
    raft.step("b", Append(2, 1, 1, (), 1), 0)
    effects = raft.step("b", TimeoutNow(2), 1)
    assert sent(effects) == [VoteRequest(3, 1, 1, transfer=True)] * 2


def test_only_the_leader_of_the_term_may_ask_for_an_election() -> None:
    raft = server(1)
    raft.step("b", Append(2, 1, 1, (), 1), 0)
    assert raft.step("c", TimeoutNow(2), 1) == []


def test_5_1_a_snapshot_replaces_a_log_that_does_not_agree_with_it() -> None:
    raft = server(1, 1, 1)
    snapshot = Snapshot(3, 2, Configuration.of("abcd"), (b"sta", b"te"))
    effects = installed(raft, "b", 2, snapshot)
    assert effects[0] == Persist(HardState(2))
    assert effects[-3:-1] == [Persist(None, snapshot, 2, ()), Restored(snapshot)]
    assert (raft.commit_index, raft.last_index, raft.configuration) == (3, 3, snapshot.configuration)


def test_5_1_a_snapshot_of_a_prefix_of_the_log_keeps_the_entries_behind_it() -> None:
    raft = server(1, 1, 1)
    effects = installed(raft, "b", 2, Snapshot(2, 1, Configuration.of("abc")))
    assert (raft.commit_index, raft.last_index) == (2, 3)
    assert effects[-1] == Committed((Entry(2, 1, b"x"),))


def test_5_1_the_configuration_is_kept_in_the_snapshot() -> None:
    raft = leader()
    synced(raft, raft.add_server("d", False, 0))
    raft.step("b", AppendReply(2, True, 3), 0)
    (persist,) = raft.compact(3, [b"state"])
    assert isinstance(persist, Persist)
    assert persist.snapshot == Snapshot(3, 2, Configuration.of("abc", "d"), (b"state",))


def test_a_single_voter_elects_itself_and_commits_alone() -> None:
    raft = server(1, voters="a")
    assert raft.deadline is not None
    persist = Persist(HardState(2, "a"), None, None, (Entry(2, 2),))
    assert raft.wake(raft.deadline) == [persist, BecameLeader(2)]
    assert raft.persisted(persist, raft.deadline) == [Committed((Entry(2, 2),))]


def test_everything_has_a_limit() -> None:
    raft = leader()
    refused: list[Reason] = []
    for data in [b"", b"x" * (LIMITS.bytes_per_message_max + 1), b"1", b"2", b"3", b"4"]:
        try:
            raft.propose([data], 0)
        except Refused as refusal:
            refused.append(refusal.reason)
    assert refused == [Reason.EMPTY, Reason.TOO_LARGE, Reason.QUEUE_FULL]


def test_at_most_seven_voters_and_the_others_follow() -> None:
    raft = leader(voters="abcdefg")
    with pytest.raises(Refused) as refused:
        raft.add_server("h", True, 0)
    assert refused.value.reason is Reason.TOO_MANY_VOTERS
    raft.add_server("h", False, 0)
    assert raft.configuration.learners == ("h",)


def test_a_server_without_a_name_never_enters_the_log() -> None:
    raft = leader()
    with pytest.raises(Refused) as refused:
        raft.add_server("", True, 0)
    assert refused.value.reason is Reason.UNNAMED


def test_a_refusal_names_the_leader() -> None:
    raft = server(1)
    raft.step("b", Append(2, 1, 1, (), 1), 0)
    with pytest.raises(Refused, match=r"not the leader.*leader: b") as refused:
        raft.propose([b"x"], 0)
    assert refused.value.leader == "b"
