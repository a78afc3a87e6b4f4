"""Which candidate the next subject gets, and when a generation is over."""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from small_study import (
    Clock,
    facts,
    hello,
    open_desk,
    send,
    small_study,
    snapshot,
    study_text,
)
from test_study import answer

from meta_learner.objective import Objective
from meta_learner.shrinkage import shrunk
from server.desk import Desk
from server.dry_run import dry_run
from server.events import (
    GenerationAsked,
    GenerationTold,
    SessionEnded,
    SessionOpened,
    StudyFinished,
)
from server.journal import Journal
from server.protocol import Ack, Assignment, Wait
from server.scores import MAX_UNUSABLE, Allocation, Scores
from server.study import replay
from server.study_file import Study, StudyFileError

LEASE_S = 30.0
CARRY_OVER = study_text('exposure = "carry_over"', "shared_stimuli = false")


def allocated(lines: str, text: str = study_text(), generations: int = 4) -> str:
    """A study whose generations are allocated otherwise."""
    more = text.replace("generations = 2", f"generations = {generations}")
    return f"{more}\n[allocation]\n{lines}"


TWO_EACH = allocated("subjects_per_candidate = 2", CARRY_OVER)
HALF = allocated("quorum = 0.5")
ALL = allocated(
    "subjects_per_candidate = 2\nreplicate_above = 0.05\nquorum = 0.5", generations=3
)


def desk_of(text: str, journal: Journal, clock: Clock | None = None) -> Desk:
    """A desk for a study."""
    return open_desk(journal, clock, study=small_study(text))


def check_replay(desk: Desk, journal: Journal) -> None:
    """The journal gives the state that the desk has."""
    assert snapshot(replay(desk.state.study, facts(journal))) == snapshot(desk.state)


# --- how many sessions a place needs -------------------------------------------


@given(
    allocation=st.builds(
        Allocation,
        st.integers(1, 4),
        st.none() | st.floats(0.01, 1),
        st.integers(1, 6),
    ),
    groups=st.integers(1, 2),
    moves=st.lists(
        st.tuples(
            st.sampled_from(["begin", "begin", "take", "miss", "lose"]),
            st.integers(0, 100),
            st.floats(0, 1),
            st.floats(0, 1),
        ),
        max_size=60,
    ),
)
def test_no_place_has_more_sessions_than_it_needs(
    allocation: Allocation, groups: int, moves: list[tuple[str, int, float, float]]
) -> None:
    scores, held = Scores(3, groups, allocation), list[tuple[int, int]]()
    measured: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for what, which, error, noise in moves:
        if what == "begin":
            free = np.argwhere(scores.missing(held)).tolist()
            if not free:
                continue
            place = tuple(free[which % len(free)])
            held.append((place[0], place[1]))
            assert held.count(held[-1]) <= (scores.wanted - scores.taken)[held[-1]]
        elif held:
            place = held.pop(which % len(held))
            if scores.scored[place] or what == "lose":
                continue  # as of a session whose candidate needs it no more
            if what == "take":
                scores.take(place, error, noise)
                measured.setdefault(place, []).append((error, noise))
            else:
                scores.miss(place)
        for at, count in Counter(held).items():
            assert scores.scored[at] or count <= (scores.wanted - scores.taken)[at]
    most = max(allocation.subjects_per_candidate, allocation.most_subjects)
    assert scores.taken.max() <= most
    assert scores.unusable.max() <= most + MAX_UNUSABLE
    for place, found in measured.items():
        errors, noises = np.transpose(found)
        n = len(found)
        assert scores.taken[place] == n
        assert scores.errors[place] == pytest.approx(errors.mean())
        spread = np.sqrt((noises**2).sum()) / n
        assert scores.standard_errors[place] == pytest.approx(spread)


def test_two_different_subjects_learn_each_candidate(journal: Journal) -> None:
    desk = desk_of(TWO_EACH, journal)
    for candidate in range(4):
        session = hello(desk, "mouse-1").session
        assert session == f"c0-g0-i{candidate}-a0"  # all are begun before any again
        answer(desk, session, value=0.3)
    assert isinstance(hello(desk, "mouse-1"), Wait)  # it knows them all
    for candidate in range(4):
        assert not facts(journal, GenerationTold)
        session = hello(desk, "mouse-2").session
        assert session == f"c0-g0-i{candidate}-a1"
        answer(desk, session, value=-0.1)
    (told,) = facts(journal, GenerationTold)
    shown = facts(journal, SessionOpened)
    assert len({str(one.x) for one in shown}) == 8
    assert told.losses == pytest.approx(_losses(facts(journal, SessionEnded)))
    check_replay(desk, journal)


def _losses(ended: list[SessionEnded]) -> list[float]:
    """Of two sessions each: the mean error, with the standard error of a mean."""
    errors, noise = np.zeros((4, 2)), np.zeros((4, 2))
    for end in ended:
        place = int(end.session[7]), int(end.session[-1])
        assert end.error is not None
        assert end.standard_error is not None
        errors[place] = end.error / (end.label_variance or np.nan)
        noise[place] = end.standard_error / (end.label_variance or np.nan)
    together = np.hypot(*noise.T) / 2
    losses = shrunk(errors.mean(1)[:, None], together[:, None])[:, 0]
    return [float(loss) for loss in losses]


def test_both_sessions_of_a_candidate_are_open_at_once(journal: Journal) -> None:
    desk = desk_of(TWO_EACH, journal)
    names = [hello(desk, f"mouse-{i}").session for i in range(8)]
    assert sorted(names) == sorted(
        f"c0-g0-i{i}-a{k}" for i in range(4) for k in range(2)
    )
    assert isinstance(hello(desk, "mouse-9"), Wait)
    for name in names:
        answer(desk, name)
    assert desk.state.generation == 1


@pytest.mark.parametrize(("above", "each"), [(1e-9, 3), (1e9, 1)])
def test_candidates_are_repeated_where_their_error_is_not_sure(
    journal: Journal, above: float, each: int
) -> None:
    text = allocated(f"replicate_above = {above:f}00001", generations=1)
    desk = desk_of(text, journal)
    finish_the_study(desk)
    used = Counter(one.candidate for one in facts(journal, SessionOpened))
    assert used == dict.fromkeys(range(4), each)
    check_replay(desk, journal)


# --- a quorum ------------------------------------------------------------------


def half_done(desk: Desk) -> tuple[str, str, str]:
    """Two candidates are scored, two with subjects: another one is not to wait.

    Returns the sessions of those two, and the first of the next generation.
    """
    slow = hello(desk, "slow").session
    for name in ("mouse-1", "mouse-2"):
        answer(desk, hello(desk, name).session)
    second = hello(desk, "mouse-3").session
    assert desk.state.generation == 0  # nobody would have to wait yet
    third = hello(desk, "mouse-4").session
    assert desk.state.generation == 1
    assert third == "c0-g1-i1-a0"
    return slow, second, third


def test_a_generation_does_not_wait_for_the_slow(journal: Journal) -> None:
    desk = desk_of(HALF, journal)
    slow, second, third = half_done(desk)
    (told,) = facts(journal, GenerationTold)
    assert [loss is None for loss in told.losses] == [True, False, False, True]
    first, asked = facts(journal, GenerationAsked)
    assert (first.carried, asked.carried) == ([], [0, 3])
    for candidate in (0, 3):
        assert asked.theta[candidate] == first.theta[candidate]
    for candidate in (1, 2):
        assert asked.theta[candidate] != first.theta[candidate]
    assert desk.state.free() == [2]  # the others are in good hands
    for name in (second, slow, third):
        assert answer(desk, name).done
    fourth = hello(desk, "mouse-5").session
    answer(desk, fourth)
    told = facts(journal, GenerationTold)[1]
    ended = {end.session: end for end in facts(journal, SessionEnded)}
    assert all(end.used for end in ended.values())  # nothing is lost
    names = (slow, third, fourth, second)
    pairs = [
        (e.error / e.label_variance, e.standard_error / e.label_variance)
        for e in (ended[name] for name in names)
    ]
    errors, noise = np.array(pairs).T
    expected = shrunk(errors[:, None], noise[:, None])[:, 0]
    assert told.losses == pytest.approx(expected.tolist())
    check_replay(desk, journal)


def test_a_very_slow_session_is_carried_as_long_as_it_takes(journal: Journal) -> None:
    desk = desk_of(HALF, journal)
    slow, second, third = half_done(desk)
    answer(desk, second)
    answer(desk, third)
    answer(desk, hello(desk, "mouse-5").session)
    assert desk.state.generation == 2
    assert facts(journal, GenerationAsked)[2].carried == [0]
    assert desk.state.free() == [1, 2, 3]
    assert answer(desk, slow).done
    assert facts(journal, SessionEnded)[-1].used
    assert desk.state.scores.scored[0].all()
    check_replay(desk, journal)
    finish_the_study(desk)
    assert facts(journal, StudyFinished)
    check_replay(desk, journal)


def test_a_candidate_whose_slow_subject_is_gone_goes_to_another(
    journal: Journal,
) -> None:
    clock = Clock()
    desk = desk_of(HALF, journal, clock)
    slow, second, third = half_done(desk)
    for name in (second, third):
        answer(desk, name)
    clock.now += LEASE_S + 1
    again = hello(desk, "mouse-5").session
    assert again == "c0-g1-i0-a1"  # the same labelling, other stimuli
    assert hello(desk, "mouse-6").session == "c0-g1-i2-a0"  # and held by one alone
    answer(desk, again)
    end = facts(journal, SessionEnded)[-1]
    assert (end.session, end.used) == (again, True)
    told = facts(journal, GenerationTold)[1]
    assert [loss is None for loss in told.losses] == [False, False, True, False]
    assert answer(desk, slow).done  # late: kept, and of no use
    assert not facts(journal, SessionEnded)[-1].used
    check_replay(desk, journal)
    finish_the_study(desk, clock)
    assert facts(journal, StudyFinished)


def test_a_restart_finds_what_was_carried(journal: Journal) -> None:
    desk = desk_of(HALF, journal)
    slow, second, _ = half_done(desk)
    again = desk_of(HALF, journal)
    assert snapshot(again.state) == snapshot(desk.state)
    for name in (slow, second):
        assert answer(again, name).done
    assert again.state.scores.scored[:, 0].tolist() == [True, False, False, True]


def test_half_of_what_is_known_of_a_candidate_is_not_told(journal: Journal) -> None:
    """With two subjects each: a carried candidate is told once, when both are done."""
    desk = desk_of(ALL, journal)
    names = [hello(desk, f"mouse-{i}").session for i in range(8)]
    slow = names[4]  # the second of the first candidate
    more = itertools.count(8)
    for name in names:
        if name != slow:
            answer(desk, name, value=0.3)
    while not (told := facts(journal, GenerationTold)):
        answer(desk, hello(desk, f"mouse-{next(more)}").session, value=0.3)
    assert slow.startswith("c0-g0-i0")
    assert [loss is None for loss in told[0].losses] == [True, False, False, False]
    assert facts(journal, GenerationAsked)[1].carried == [0]
    assert desk.state.scores.taken[0] == 1
    answer(desk, slow)
    assert desk.state.scores.taken[0] == 2
    check_replay(desk, journal)


def test_all_at_once_in_process(journal: Journal) -> None:
    study = small_study(ALL)
    dry_run(study, journal)
    assert facts(journal, StudyFinished)
    assert all(end.used for end in facts(journal, SessionEnded))
    used = Counter((s.generation, s.candidate) for s in facts(journal, SessionOpened))
    assert used.keys() == {(g, i) for g in range(3) for i in range(4)}
    assert set(used.values()) <= {2, 3}
    assert study.sessions == 2 * 4 * 3


def _place_of(opened: SessionOpened) -> tuple[int, int, int, str]:
    """The candidate that a session is of."""
    return opened.component, opened.generation, opened.candidate, opened.group


class Crowd(RuleBasedStateMachine):
    """Subjects that come, finish, omit, fall silent; all ways of allocation at once."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.born = Clock(), 0
        self.late: set[tuple[int, int, int, str]] = set()
        """Places whose lost session came back: another may hold it meanwhile."""
        self.journal = Journal(":memory:", "small")
        self.desk = desk_of(ALL, self.journal, self.clock)

    def teardown(self) -> None:
        check_replay(self.desk, self.journal)
        finish_the_study(self.desk, self.clock)
        assert facts(self.journal, StudyFinished)
        self.check_that_nothing_is_lost()
        self.journal.close()

    @rule(target=sessions, count=st.integers(1, 5))
    def subjects_come(self, count: int) -> str:
        reply: Any = None
        for _ in range(count):
            self.born += 1
            reply = hello(self.desk, f"mouse-{self.born}")
        return reply.session if isinstance(reply, Assignment) else "none"

    @rule(session=sessions, value=st.floats(-1, 1))
    def one_finishes(self, session: str, value: float) -> None:
        known = self.desk.state.sessions.get(session)
        if known and not known.over:
            if known.status == "lost":  # a late result is used all the same
                self.late.add(_place_of(known.opened))
            assert answer(self.desk, session, value).done

    @rule(session=consumes(sessions))
    def one_answers_nothing(self, session: str) -> None:
        known = self.desk.state.sessions.get(session)
        if known and not known.over:
            answer(self.desk, session, omit=6)

    @rule(session=sessions)
    def all_but_one_fall_silent(self, session: str) -> None:
        self.clock.now += LEASE_S - 1
        send(self.desk, "heartbeat", session=session)
        self.clock.now += 2
        send(self.desk, "heartbeat", session=session)

    @rule()
    def restart(self) -> None:
        before = snapshot(self.desk.state)
        self.desk = desk_of(ALL, self.journal, self.clock)
        assert snapshot(self.desk.state) == before

    @invariant()
    def no_place_has_more_sessions_than_it_needs(self) -> None:
        state = self.desk.state
        held = Counter(
            state.place(s.opened)
            for s in state.sessions.values()
            if s.status == "open"
            and state.is_current(s.opened)
            and _place_of(s.opened) not in self.late
        )
        need = state.scores.wanted - state.scores.taken
        for place, count in held.items():
            assert state.scores.scored[place] or count <= need[place]

    @invariant()
    def whoever_comes_is_served_unless_all_are_held(self) -> None:
        state = self.desk.state
        held = [s for s in state.sessions.values() if s.status == "open"]
        assert state.finished or state.free() or held

    def check_that_nothing_is_lost(self) -> None:
        """Each used session is in the scores of the generation that was told it."""
        used = [end for end in facts(self.journal, SessionEnded) if end.used]
        scored = sum(end.status == "finished" for end in used)
        state, told = replay(self.desk.state.study, []), 0
        for fact in facts(self.journal):
            if isinstance(fact, GenerationTold):
                later = state.running()
                told += int(np.delete(state.scores.taken, later, 0).sum())
            state.apply(fact)
        # A quorum ends the last generation too; nothing takes its slow ones over.
        assert told <= scored


def finish_the_study(desk: Desk, clock: Clock | None = None) -> None:
    """Newcomers bring it to its end; whoever else is there is silent."""
    for number in range(200):
        reply = hello(desk, f"late-{number}")
        if isinstance(reply, Assignment):
            assert isinstance(answer(desk, reply.session), Ack)
        elif isinstance(reply, Wait):
            assert clock, "one that comes alone has to wait"
            clock.now += LEASE_S + 1
        else:
            return
    raise AssertionError("the study does not come to its end")


def test_allocation_survives_any_sequence_of_sessions() -> None:
    run_state_machine_as_test(
        Crowd,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- what cannot be ------------------------------------------------------------


def refusals() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Lines of [allocation], another line changed, and words of the refusal."""
    des = "population = 4"
    yield "quorum = 0", des, ("allocation.quorum", "greater than 0")
    yield "quorum = 1.5", des, ("allocation.quorum", "less than or equal to 1")
    yield "subjects_per_candidate = 0", des, ("allocation.subjects_per_candidate",)
    yield "replicate_above = 0.0", des, ("allocation.replicate_above",)
    yield "quorun = 0.5", des, ("allocation.quorun", "no such setting")
    yield (
        "subjects_per_candidate = 3\nreplicate_above = 0.1",
        des,
        ("most_subjects is 3", "more than subjects_per_candidate (3)"),
    )
    for method in ("xNES", "PGPE"):
        yield (
            "quorum = 0.5",
            f'{des}\nmethod = "{method}"',
            ("allocation.quorum is 0.5", "expected 1", "DES"),
        )
    yield "quorum = 0.5", f"{des}\nre_evaluate = 2", ("quorum is 0.5", "re_evaluate")
    yield "quorum = 0.5", f'{des}\nmethod = "hybrid"', ("quorum is 0.5", "hybrid")
    for lines in ("subjects_per_candidate = 2", "replicate_above = 0.1"):
        for method in ("hybrid", "subject_model"):
            yield (
                lines,
                f'{des}\nmethod = "{method}"',
                (f"search.method is {method}", "subjects_per_candidate = 1"),
            )


@pytest.mark.parametrize(("lines", "search", "expected"), [*refusals()])
def test_what_cannot_be_is_refused_with_what_was_expected(
    lines: str, search: str, expected: tuple[str, ...]
) -> None:
    text = allocated(lines).replace("population = 4", search)
    if "hybrid" in search or "subject_model" in search:
        text = text.replace('family = "linear"', 'family = "basis"\ndegree = 2')
    with pytest.raises(StudyFileError) as fault:
        Study(text)
    for words in expected:
        assert words in str(fault.value)


def test_an_objective_is_of_mean_errors() -> None:
    """Of two sessions of a candidate, in a search that has one group."""
    scores = Scores(2, 1, Allocation(2))
    for error in (0.2, 0.4):
        scores.take((0, 0), error, 0.0)
        scores.take((1, 0), 2 * error, 0.0)
    losses = scores.meta_losses(Objective(), np.zeros((2, 2)))
    assert losses == pytest.approx([0.3, 0.6])
