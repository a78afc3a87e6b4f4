"""What training tells, a label or a reward, is apart from how a subject responds."""

from collections.abc import Callable
from typing import Any

import click
import numpy as np
import pytest
from small_study import (
    CHOICE,
    facts,
    hello,
    open_desk,
    run_all,
    send,
    small_study,
    study_text,
)

from server.dry_run import dry_run
from server.events import Responded, SessionEnded, SessionOpened
from server.journal import Journal
from server.study_file import Study, StudyFileError
from simulated_subjects.responses import Graded, TwoChoice
from subject_clients.loop import Subject
from subject_clients.terminal import Terminal
from subject_clients.transport import InMemory


def crossed(response: str, feedback: str) -> str:
    """The small study with a kind of response and a kind of feedback."""
    repeats = 2 if response == "choice" else 1
    return study_text(
        session=f'response = "{response}"\nfeedback = "{feedback}"\n'
        f"test_repeats = {repeats}"
    )


CROSSED = pytest.mark.parametrize(
    ("response", "feedback"),
    [
        (response, feedback)
        for response in ("graded", "choice")
        for feedback in ("label", "reward")
    ],
)


@pytest.mark.parametrize(
    ("text", "usual"), [(study_text(), "label"), (CHOICE, "reward")]
)
def test_what_is_told_when_the_study_file_does_not_say(text: str, usual: str) -> None:
    study = small_study(text)
    assert study.design.feedback == usual
    written = text.replace("lease_s", f'feedback = "{usual}"\nlease_s')
    assert Study(written).design == study.design


def test_feedback_is_a_label_or_a_reward() -> None:
    with pytest.raises(StudyFileError, match=r"session.feedback: .*got 'treat'"):
        Study(crossed("graded", "treat"))


@CROSSED
def test_each_training_trial_tells_it_and_no_test_trial_tells_anything(
    journal: Journal, response: str, feedback: str
) -> None:
    desk = open_desk(journal, study=small_study(crossed(response, feedback)))
    assigned = hello(desk, "human-1")
    assert assigned.response == response
    (opened,) = facts(journal, SessionOpened)
    assert len(opened.right_rewarded) == (6 if feedback == "reward" else 0)
    trial = send(desk, "next", session=assigned.session)
    while trial.phase == "training":
        if feedback == "label":
            expected: dict[str, Any] = {"label": opened.y[opened.trials[trial.index]]}
        else:
            right = opened.right_rewarded[trial.index]
            expected = {"rewarded": "right" if right else "left"}
        assert trial.feedback == expected
        trial = send(desk, "respond", session=assigned.session, uid=trial.uid).next
    assert trial.feedback is None
    told = send(desk, "respond", session=assigned.session, uid=trial.uid, value=0.5)
    if response == "choice":
        assert told.error == "not_a_choice"
    else:
        assert told.next.feedback is None


@CROSSED
def test_in_process_and_over_messages_subjects_learn_and_answer_the_same(
    open_journal: Callable[..., Journal], response: str, feedback: str
) -> None:
    study = small_study(crossed(response, feedback))
    assert isinstance(study.responses, Graded if response == "graded" else TwoChoice)
    process, messages = open_journal("process.db"), open_journal("messages.db")
    dry_run(study, process)
    run_all(open_desk(messages, study=study))
    ours, theirs = (
        {end.session: end.error for end in facts(journal, SessionEnded)}
        for journal in (process, messages)
    )
    assert ours == pytest.approx(theirs, abs=0.01)
    answers = [v for f in facts(process, Responded) for v in f.values]
    assert (np.abs(answers) == 1).all() == (response == "choice")


def test_rewards_teach_a_graded_subject_less_than_labels_do(
    open_journal: Callable[..., Journal],
) -> None:
    """A ridge learner finds a linear labelling from six labels, not from six sides."""
    error = {}
    for feedback in ("label", "reward"):
        text = crossed("graded", feedback).replace("kernel_ridge", "ridge")
        study = small_study(text.replace("features = 20", ""))
        dry_run(study, journal := open_journal(f"{feedback}.db"))
        error[feedback] = np.median([e.error for e in facts(journal, SessionEnded)])
    assert error["label"] < 0.01
    assert error["reward"] > 10 * error["label"]


@CROSSED
def test_a_person_is_told_it_and_how_to_answer(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    response: str,
    feedback: str,
) -> None:
    typed = "l" if response == "choice" else "-0.5"
    monkeypatch.setattr(click.termui, "visible_prompt_func", lambda _: typed)
    desk = open_desk(journal, study=small_study(crossed(response, feedback)))
    Subject("p01", Terminal(), InMemory(desk.handle)).run_session()
    said = capsys.readouterr().out
    for kind, name in (("label", "label:"), ("reward", "rewarded:")):
        assert said.count(name) == (6 if kind == feedback else 0)
    assert "-1" in said.splitlines()[0]
    assert "left" in said.splitlines()[0]


def test_a_preferred_side_is_no_error_of_choices_whatever_teaches_them(
    open_journal: Callable[..., Journal],
) -> None:
    """As it is none where rewards teach: it is the response that has sides."""
    error = {}
    for side in (0.0, 1.0):
        text = crossed("choice", "label").replace("repeats = 2", "repeats = 20")
        text = text.replace(
            "[simulated_responses]", f"[simulated_responses]\nside_bias = {side}"
        )
        dry_run(small_study(text), journal := open_journal(f"{side}.db"))
        error[side] = np.median([e.error for e in facts(journal, SessionEnded)])
    assert error[1.0] < error[0.0] + 0.1
