"""What a study will cost, before it is begun."""

from server.study_file import Study


def costs(study: Study) -> list[tuple[str, str]]:
    """Names and amounts of what a study takes, when no session is lost."""
    file, design = study.file, study.design
    trials = design.training_trials + design.test_trials
    of_each = f"{trials} ({design.training_trials} training, {design.test_trials} test)"
    groups = ", ".join(study.groups)
    components = [("components", f"{file.study.components:,}")]
    if study.by_gradient:
        return [
            *components,
            ("meta-steps of each", f"{file.search.generations:,}"),
            ("individuals in each", f"{file.search.population:,}"),
            *([("groups, so many of each", groups)] if file.groups else []),
            ("individuals trained", f"{study.sessions:,}"),
            ("stimuli of each", of_each),
            ("subjects", "simulated, in process: dry-run only"),
        ]
    verified = study.verifying_sessions
    subject = "one session each" if file.study.exposure == "naive" else "several each"
    return [
        *components,
        *_of_search(study),
        *([("groups, a session of each", groups)] if file.groups else []),
        *([("sessions that verify", f"{verified:,}")] if verified else []),
        ("sessions", f"{study.sessions:,}"),
        ("trials in each", f"up to {of_each}" if study.by_model else of_each),
        ("trials in all", f"{study.sessions * trials:,}"),
        ("subjects", f"{file.study.exposure}: {subject}"),
    ]


def _of_search(study: Study) -> list[tuple[str, str]]:
    """What the search asks for, before verification."""
    search = study.file.search
    if study.by_model:
        return [
            ("sessions of the search, for all", f"{study.exploring_sessions:,}"),
            ("asked together", f"{search.population:,}"),
        ]
    return [
        ("generations of each", f"{search.generations:,}"),
        ("candidates in each", f"{search.population:,}"),
    ]
