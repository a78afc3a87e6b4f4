"""What a study file may say of its human participants."""

import re
import tomllib

import pytest
from small_study import study_text

from server.human_task import HumanTask
from server.sections import StudyFile
from server.study_file import Study, StudyFileError


def test_a_study_need_not_say_anything_of_humans() -> None:
    said = StudyFile.model_validate(tomllib.loads(study_text())).human
    assert said.task() == HumanTask()
    assert (said.completion_code, said.completion_url) == (None, None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('completion_url = "site.example/done"', "expected an address with https://"),
        ('completion_url = "javascript:alert(1)"', "expected an address with https://"),
        ('completion_url = "https://"', "expected an address with https://"),
        ('completion_url = "https://{PROLIFIC_PID}.example"', "after the host only"),
        ('completion_url = "https://x.example/?c={code}"', "expected completion_code"),
        ('completion_code = "two words"', "completion_code"),
        ('keys = ["f", "f"]', "keys: expected two, got 'f' twice"),
        ('keys = ["f", "J"]', "keys"),
        ("stimulus_s = 2.0\nanswer_within_s = 1.0", "expected at least stimulus_s, 2"),
        ("answer_within_s = 0.0", "answer_within_s"),
        ('consent = ""', "consent"),
        ("practice = 4", "practice"),
    ],
)
def test_a_faulty_section_is_refused(said: str, expected: str) -> None:
    with pytest.raises(StudyFileError, match=re.escape(expected)) as caught:
        Study(study_text() + f"\n[human]\n{said}\n")
    assert "human" in str(caught.value)


def test_a_section_without_faults_is_taken() -> None:
    shorter = study_text() + "\n[human]\nstimulus_s = 1.0\nanswer_within_s = 1.0\n"
    said = StudyFile.model_validate(tomllib.loads(shorter)).human
    assert said.answer_within_s == 1.0
