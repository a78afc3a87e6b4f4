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
    subject = "one session each" if file.study.exposure == "naive" else "several each"
    return [
        *components,
        ("generations of each", f"{file.search.generations:,}"),
        ("candidates in each", f"{file.search.population:,}"),
        *([("groups, a session of each", groups)] if file.groups else []),
        ("sessions", f"{study.sessions:,}"),
        ("trials in each", of_each),
        ("trials in all", f"{study.sessions * trials:,}"),
        ("subjects", f"{file.study.exposure}: {subject}"),
    ]
