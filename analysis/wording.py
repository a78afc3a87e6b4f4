"""The report's sentences: what was found, how, and what to be careful about."""

import numpy as np

from analysis.finding import Finding
from server.events import StudyFinished


def component_name(finding: Finding, component: int) -> str:
    """Number of a component, and whether its search goes on."""
    last = component == len(finding.distances) - 1
    if not (last and finding.recovered.provisional):
        return f"Component {component + 1}"
    spent = finding.recovered.generations[component]
    budget = finding.record.study.file.search.generations
    return (
        f"Component {component + 1} (provisional, after {spent:,} of {budget:,} "
        "generations)"
    )


def verdict(finding: Finding, component: int) -> str:
    """What a component says about the subject, beside the null."""
    found = finding.distances[component]
    name = component_name(finding, component)
    where = f"{_percent(found.power)} of its power {_in_order(finding, component)}"
    null = (
        f"{_percent(found.null_median)} "
        f"({_percent(found.null_low)} to {_percent(found.null_high)})"
    )
    p = f"p = {found.p_value:.2g}"
    if finding.record.study.null:
        expected = "unlike most" if found.beyond else "like the others"
        return f"{name} has {where}, {expected} without a learner: {null}, {p}."
    if found.beyond:
        return (
            f"{name} has {where}, where searches without a learner have {null}: "
            f"beyond the null ({p})."
        )
    return (
        f"{name} has {where}, and searches without a learner find as much: {null}, "
        f"{p}. This says nothing about the subject."
    )


def summary(finding: Finding) -> str:
    """What a study spent, in one sentence or two."""
    study, sessions = finding.record.study, finding.frames.sessions
    done = bool(finding.record.facts(StudyFinished))
    state = "Finished." if done else "Not finished: all that follows is provisional."
    if study.null:
        return f"The same search without a learner: no session was needed. {state}"
    simulated = finding.record.opened.mode != "live"
    subjects = _simulated_subjects(finding) if simulated else "subjects"
    trials = int(sessions["test_trials"].sum())
    return (
        f"{len(sessions):,} sessions of {sessions['subject'].nunique():,} {subjects}, "
        f"{trials:,} test trials. {state}"
    )


def cautions(findings: list[Finding]) -> list[str]:
    """What a reader must know before believing the result."""
    notes = [note for finding in findings for note in _cautions_of(finding)]
    if not any(map(_is_diagnostic, findings)):
        notes.append(
            "No study here went beyond its null in an order that the null does not "
            "favour by itself. Show a diagnostic subject as well, for instance a dry "
            "run of the same file with a kernel_ridge learner of absolute activation: "
            "it proves that this search, on this budget, listens to its subject."
        )
    tests = sum(len(f.distances) for f in findings if not f.record.study.null)
    if tests > 1:
        notes.append(
            f"The {tests} p-values are not corrected for their number; one in twenty "
            "falls below 0.05 by chance."
        )
    return notes


def methods(finding: Finding) -> str:
    """How the study was done and analysed, as a paper would say it."""
    return f"{_what_was_done(finding)} {_how_it_was_analysed(finding)}"


def _what_was_done(finding: Finding) -> str:
    study, file = finding.record.study, finding.record.study.file
    design, objective = study.design, file.objective
    return (
        f"Stimuli came from the space {file.stimuli['space']} "
        f"({len(study.labeller.space.features)} features). Labellings were of the "
        f"family {file.labelling.get('family')}, {study.search.genes:,} parameters, "
        f"searched by {file.search.method} with {file.search.population:,} candidates "
        f"in each of {file.search.generations:,} generations per component. A session "
        f"had {design.training_trials:,} training trials "
        f"({design.training_stimuli:,} stimuli) and {design.test_trials:,} test trials "
        f"({design.test_stimuli:,} others), with {design.response} responses; the "
        "meta-loss was the mean squared error on test trials over the variance of the "
        f"labels, with weight {study.objective.generalisation_weight:g}. Label "
        f"distribution: {objective.label_distribution}; orthogonality of components: "
        f"{objective.orthogonality}."
    )


def _how_it_was_analysed(finding: Finding) -> str:
    orders = finding.orders
    table = finding.record.study.file.stimuli["space"] == "table"
    ranked = ", one function each, smoothest first" if table else ""
    return (
        "Power is the share of the variance of labels (energy, not amplitude) in each "
        f"of the first {orders.order.max()} orders of the space's basis{ranked}, on "
        f"{len(orders.x):,} stimuli. The null repeats the search "
        f"{len(finding.null):,} times without a learner, by neutral drift under "
        "whatever penalties the study has. The statistic is the log-odds of a "
        "component's power in its leading order less the null's median there; p is the "
        "share of components, the observed one included, with as large a value, each "
        "judged by its own leading order."
    )


def _cautions_of(finding: Finding) -> list[str]:
    """Cautions about one study."""
    notes = []
    sessions = finding.frames.sessions
    failed = int(sessions["status"].isin(["lost", "abandoned", "unusable"]).sum())
    for i, found in enumerate(finding.distances):
        if finding.record.study.null:
            break
        name = f"{finding.title}, component {i + 1}"
        if not found.beyond:
            notes.append(f"{name}: no difference from the null. It proves no bias.")
        row = finding.frames.components.iloc[i]
        if row["final_error"] > 0.8 * row["first_error"]:
            notes.append(
                f"{name}: the error hardly fell ({row['first_error']:.2g} to "
                f"{row['final_error']:.2g}), so the search has not found what this "
                "subject learns best."
            )
    if failed > 0.1 * len(sessions):
        notes.append(
            f"{finding.title}: {failed:,} of {len(sessions):,} sessions were lost, "
            "abandoned or unusable; ask whether some labellings were given up more."
        )
    if finding.record.study.file.study.exposure == "carry_over":
        notes.append(
            f"{finding.title}: subjects had several sessions. Errors are not corrected "
            "for what they carried over; the sessions table has the exposure of each."
        )
    return notes


def _simulated_subjects(finding: Finding) -> str:
    options = finding.record.study.file.simulated_subject or {}
    described = ", ".join(f"{name} {value}" for name, value in options.items())
    return f"simulated subjects ({described})" if described else "simulated subjects"


def _is_diagnostic(finding: Finding) -> bool:
    """Whether it went beyond the null where the null would not have gone."""
    usual = np.median(finding.null, axis=0).argmax(-1)
    names = finding.orders.names
    return any(
        found.beyond and found.order != names[k]
        for found, k in zip(finding.distances, usual, strict=True)
    )


def _in_order(finding: Finding, component: int) -> str:
    order = finding.distances[component].order
    if order == "above":
        return f"above order {finding.orders.order.max()}"
    return f"in order {order}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
