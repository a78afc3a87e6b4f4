"""The report's sentences: what was found, how, and what to be careful about."""

import numpy as np

from analysis.finding import Finding
from analysis.frames import error_column
from analysis.psychometric import fitted
from analysis.verification import in_words, verified
from meta_learner.objective import CONTRASTS, FLOOR
from meta_learner.psychometric import Psychometric
from server.events import MetaSteps, StudyFinished


def heading(findings: list[Finding]) -> str:
    """What a report of these studies is about; a contrast is of no group alone."""
    if any(_is_contrast(finding) for finding in findings):
        return "What was found"
    return "What was found easy to generalise"


def component_name(finding: Finding, component: int) -> str:
    """Number of a component, and whether its search goes on."""
    last = component == len(finding.distances) - 1 or finding.record.study.by_model
    if not (last and finding.recovered.provisional):
        return f"Component {component + 1}"
    spent = finding.recovered.generations[component]
    budget = finding.record.study.file.search.generations
    return (
        f"Component {component + 1} (provisional, after {spent:,} of {budget:,} "
        f"{_rounds(finding)})"
    )


def verdict(finding: Finding, component: int) -> str:
    """What a component says about the subject, beside the null, and its groups."""
    said = [_beside_null(finding, component), _groups(finding, component)]
    checked = verified(finding.record)
    if checked:
        said.append(in_words(checked[component], finding.record.study.objective))
    return " ".join(filter(None, said))


def _beside_null(finding: Finding, component: int) -> str:
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


def _groups(finding: Finding, component: int) -> str:
    """How well each group generalised in the end, in a study with groups."""
    study = finding.record.study
    final = _final_errors(finding, component)
    if study.null or len(final) < 2 or np.isnan(final).any():
        return ""
    each = ", ".join(
        f"{error:.2g} for {group}"
        for group, error in zip(study.groups, final, strict=True)
    )
    said = f"In its last {_rounds(finding)} the error was {each}"
    median = "median meta-step" if study.by_gradient else "median candidate"
    scale = f"({median}, 1 being as good as answering the mean)"
    if not _is_contrast(finding):
        return f"{said} {scale}."
    chosen, neglected = study.groups
    return (
        f"{said}, {final[1] / max(final[0], FLOOR):.2g} times that of {chosen} "
        f"{scale}. It was sought for being easier for {chosen} than for {neglected}, "
        "not for being easy."
    )


def _final_errors(finding: Finding, component: int) -> list[float]:
    """Relative error of each group in the last generations of a component."""
    row = finding.frames.components.iloc[component]
    groups = finding.record.study.groups
    return [float(row[error_column("final", group)]) for group in groups]


def _rounds(finding: Finding) -> str:
    """What the search of a study goes by."""
    return "meta-steps" if finding.record.study.by_gradient else "generations"


def _is_contrast(finding: Finding) -> bool:
    return finding.record.study.objective.aim in CONTRASTS


def summary(finding: Finding) -> str:
    """What a study spent, in one sentence or two."""
    study, sessions = finding.record.study, finding.frames.sessions
    done = bool(finding.record.facts(StudyFinished))
    state = "Finished." if done else "Not finished: all that follows is provisional."
    if study.null:
        return f"The same search without a learner: no session was needed. {state}"
    if study.by_gradient:
        steps = sum(len(fact.errors) for fact in finding.record.facts(MetaSteps))
        return (
            f"{subjects_of(finding):,} {_simulated_subjects(finding)} trained in "
            f"{steps:,} meta-steps. {state}"
        )
    trials = int(sessions["test_trials"].sum())
    if finding.record.imported:
        return (
            f"Imported: {len(sessions):,} sessions of {subjects_of(finding):,} "
            f"subjects, {trials:,} test trials."
        )
    simulated = finding.record.opened.mode == "dry-run"
    subjects = _simulated_subjects(finding) if simulated else "subjects"
    return (
        f"{len(sessions):,} sessions of {subjects_of(finding):,} {subjects}, "
        f"{trials:,} test trials. {state}"
    )


def subjects_of(finding: Finding) -> int:
    """Subjects that a study met, or trained in its meta-steps."""
    if finding.record.study.by_gradient:
        return int(finding.frames.generations["sessions"].sum())
    return int(finding.frames.sessions["subject"].nunique())


def cautions(findings: list[Finding]) -> list[str]:
    """What a reader must know before believing the result."""
    notes = [note for finding in findings for note in _cautions_of(finding)]
    searched = any(finding.distances for finding in findings)
    if searched and not any(map(_is_diagnostic, findings)):
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
    parts = (_what_was_done, _how_choices_counted, _how_it_was_analysed)
    if finding.record.imported:
        return _how_it_was_imported(finding)
    return " ".join(filter(None, (part(finding) for part in parts)))


def _what_was_done(finding: Finding) -> str:
    study, file = finding.record.study, finding.record.study.file
    objective, genes = file.objective, study.labeller.family.genes(study.labeller.space)
    return (
        f"Stimuli came from the space {file.stimuli['space']} "
        f"({len(study.labeller.space.features)} features). Labellings were of the "
        f"family {file.labelling.get('family')}, {genes:,} parameters, "
        f"searched {_how_it_was_searched(finding)}; the meta-loss was the mean squared "
        f"error {_how_errors_counted(finding)}{_how_groups_counted(finding)}with "
        f"weight {study.objective.generalisation_weight:g}. Label "
        f"distribution: {objective.label_distribution}; orthogonality of components: "
        f"{objective.orthogonality}."
    )


def _how_it_was_imported(finding: Finding) -> str:
    said = finding.record.opened.versions
    return (
        f"Trials were imported from {said.get('imported from', 'a table')} (SHA-256 "
        f"{said.get('table sha256', 'not known')}): stimuli and labels were chosen "
        "elsewhere, no labelling was searched, and no null of a search applies."
    )


def _how_it_was_searched(finding: Finding) -> str:
    """The search and its subjects, from 'by' on."""
    study, search = finding.record.study, finding.record.study.file.search
    design = study.design
    if study.by_gradient:
        each = " of each group" if study.file.groups else ""
        return (
            f"by {search.method.capitalize()}, {search.generations:,} meta-steps of "
            f"{search.population:,} individuals{each} per component, along the "
            "gradient through their whole training. Each individual, newly born, was "
            f"trained on {design.training_stimuli:,} stimuli and tested on "
            f"{design.test_stimuli:,} others"
        )
    most = "up to " if study.by_model else ""
    how = (
        f"by {search.searched_by} with {search.population:,} candidates in each of "
        f"{search.generations:,} generations per component"
    )
    if study.by_model:
        how = (
            "by a model of the subject, a kernel machine fitted to every answer, of "
            "which components are the leading eigenfunctions, in sessions that tell "
            f"most about it, {search.population:,} at a time"
        )
    if study.helper:
        how += _how_it_was_helped(finding)
    return (
        f"{how}. A session had {most}{design.training_trials:,} training trials "
        f"({design.training_stimuli:,} stimuli) and {design.test_trials:,} test trials "
        f"({design.test_stimuli:,} others), with {design.response} responses "
        f"and {design.feedback}s as feedback"
    )


def _how_it_was_helped(finding: Finding) -> str:
    """How far the model of the subject was trusted, for the end of a sentence."""
    table = finding.frames.generations
    last = table.dropna(subset="trust").groupby("component")["trust"].last()
    each = ", ".join(map(_percent, last)) or "not known yet"
    return (
        ", helped by a model of the subject, a kernel machine fitted to the newest "
        "sessions, as far as it had proved right on sessions that it had not seen: it "
        "chose candidates and took noise out of errors. Share of the differences "
        "between labellings that it had predicted, at the end of each component: "
        f"{each}; candidates of its choice: {int(table['screened'].sum()):,} of "
        f"{int(table['candidates'].sum()):,}"
    )


def _how_errors_counted(finding: Finding) -> str:
    relative = finding.record.study.objective.relative
    over = "over the variance of the labels" if relative else "as it is"
    return f"on test stimuli {over}, "


def _how_choices_counted(finding: Finding) -> str:
    """What a choice was compared with, and what choices in training say of that."""
    study = finding.record.study
    if study.design.response != "choice":
        return ""
    ideal = study.psychometric
    by = f", by a psychometric function of {_parameters(ideal)}" if ideal else ""
    told = (
        f"The mean choice was compared with the label{by}; a preference for one side "
        "was not counted."
    )
    for group, function in fitted(finding.record, finding.frames.trials).items():
        who = f"choices of {group}" if group else "choices"
        told += (
            f" Late in training, {who} about known stimuli fit {_parameters(function)} "
            "(the slope at least, since what is not known yet lowers it)."
        )
    return told


def _parameters(function: Psychometric) -> str:
    return (
        f"slope {function.slope:.2g}, side bias {function.side_bias:.2g}, "
        f"lapse {function.lapse:.2g}"
    )


def _how_groups_counted(finding: Finding) -> str:
    """The aim of a study with groups, for the middle of a sentence."""
    study = finding.record.study
    if study.groups == ("",):
        return ""
    of_groups = " and ".join(study.groups)
    how = {
        "mean": f"averaged over the groups {of_groups}",
        "worst": f"of the worst of the groups {of_groups}",
        "difference": f"as the difference of {' less '.join(study.groups)}",
        "bounded": f"up to 1, as the difference of {' less '.join(study.groups)}",
        "ratio": f"as the logarithm of the ratio of {' over '.join(study.groups)}",
        "normalised": f"as the difference of {' less '.join(study.groups)} over "
        "their sum",
    }
    floor = study.objective.aim in ("ratio", "normalised")
    raised = f", each raised by {FLOOR:g}" if floor else ""
    return f"{how[study.objective.aim]}{raised}, "


def _how_it_was_analysed(finding: Finding) -> str:
    orders = finding.orders
    table = finding.record.study.file.stimuli["space"] == "table"
    ranked = ", one function each, smoothest first" if table else ""
    by_gradient = finding.record.study.by_gradient
    how = "from labellings at random" if by_gradient else "by neutral drift"
    if finding.record.study.by_model:
        how = "by the model before any answer"
    return (
        "Power is the share of the variance of labels (energy, not amplitude) in each "
        f"of the first {orders.order.max()} orders of the space's basis{ranked}, on "
        f"{len(orders.x):,} stimuli. The null repeats the search "
        f"{len(finding.null):,} times without a learner, {how} under "
        "whatever penalties the study has. The statistic is the log-odds of a "
        "component's power in its leading order less the null's median there; p is the "
        "share of components, the observed one included, with as large a value, each "
        "judged by its own leading order."
    )


def _cautions_of(finding: Finding) -> list[str]:
    """Cautions about one study."""
    notes = []
    sessions, verdicts = finding.frames.sessions, verified(finding.record)
    failed = int(sessions["status"].isin(["lost", "abandoned", "unusable"]).sum())
    for i, found in enumerate(finding.distances):
        if finding.record.study.null:
            break
        name = f"{finding.title}, component {i + 1}"
        confirmed = any(v.component == i and v.confirmed for v in verdicts)
        if not found.beyond and not confirmed:
            notes.append(f"{name}: no difference from the null. It proves no bias.")
        notes += [f"{name}: {note}" for note in _cautions_of_errors(finding, i)]
    if failed > 0.1 * len(sessions):
        notes.append(
            f"{finding.title}: {failed:,} of {len(sessions):,} sessions were lost, "
            "abandoned or unusable; ask whether some labellings were given up more."
        )
    if len(sessions) and sessions["exposure"].max() > 0:
        notes.append(
            f"{finding.title}: subjects had several sessions. Errors are not corrected "
            "for what they carried over; the sessions table has the exposure of each."
        )
    return notes


def _cautions_of_errors(finding: Finding, component: int) -> list[str]:
    """Cautions about what the search reached."""
    study, final = finding.record.study, _final_errors(finding, component)
    if study.by_model:  # whose sessions are not asked to be easy
        return []
    if _is_contrast(finding):
        if not final[0] >= final[1]:  # NaN: not known yet
            return []
        note = (
            f"the error of {study.groups[0]} ({final[0]:.2g}) is not below that of "
            f"{study.groups[1]} ({final[1]:.2g}), so no contrast was found."
        )
        return [note]
    if study.by_gradient and finding.distances[component].beyond:
        return []  # descent is quick, and its first steps may be at the end already
    row = finding.frames.components.iloc[component]
    notes = []
    for group, end in zip(study.groups, final, strict=True):
        start = row[error_column("first", group)]
        if end > max(FLOOR, 0.8 * start):
            of = f" of {group}" if group else ""
            fell = "hardly fell" if end < start else "did not fall"
            notes.append(
                f"the error{of} {fell} ({start:.2g} to {end:.2g}), so the search "
                f"has not found what {group or 'this subject'} learns best."
            )
    return notes


def _simulated_subjects(finding: Finding) -> str:
    file = finding.record.study.file
    options = file.simulated_subject or {}
    described = ", ".join(f"{name} {value}" for name, value in options.items())
    groups = [
        f"{group}: {', '.join(f'{name} {value}' for name, value in own.items())}"
        for group, own in file.groups.items()
    ]
    described = "; ".join(groups) or described
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
