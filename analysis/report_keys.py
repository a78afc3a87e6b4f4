"""What each key of report.json means; the file carries this table itself."""

KEYS = {
    "title": "name under which the study is shown",
    "study": "name of the study in its journal",
    "seed": "seed from which every draw of the study follows",
    "sha256": "SHA-256 of the study file, and of its stimulus table",
    "mode": "dry-run, live, or imported",
    "null": "whether it is a no-learner null",
    "by_gradient": "whether labellings were searched by gradient",
    "groups": "groups of subjects",
    "aim": "how errors of groups become one number",
    "finished": "whether the study is over",
    "first_event": "time of the first event, UTC",
    "last_event": "time of the last event, UTC",
    "versions": "software that ran the study",
    "analysed_with": "software of this analysis",
    "summary": "what the study spent, in words",
    "methods": "how it was done and analysed, in words",
    "components": "each recovered component: cost, errors, power per order, distance "
    "from the no-learner null with p-value",
    "overlap": "correlations of the components' labels",
    "verification": "components measured in fresh sessions, beside controls",
    "certificate": "recovery certificate of the study file: planted biases that it "
    "finds; keys as in certificate.json; null without one",
    "null_replicates": "searches without a learner that the null is made of",
    "sessions": "number of sessions by how they ended",
    "subjects": "number of subjects",
    "recorded_trials": "number of trials by outcome",
    "test_trials_used": "test trials that errors were computed from",
    "clients": "connections, disconnections and returns of clients",
    "quarantined_responses": "second, different responses to a trial",
    "study_file": "text of the study file",
    "component_intervals": "estimate, low and high of each component's error and "
    "power; how: what the interval is of",
    "bias_spectrum": "relative generalisation error per order and group, 90 % interval "
    "(low, high), mean power of the labels there; null_*: errors exchanged",
    "flat_spectrum": "permutation test of a spectrum that is the same in all orders",
    "gain_spectrum": "slope of answers on the part of the labels in each order",
    "learning_curve": "squared error and agreement along training, by bins of trials",
    "reaction_times": "seconds: medians, quantiles (q10 is 10 %), ex-Gaussian",
    "chronometric": "median reaction time, seconds, by distance of the label from 0",
    "side_bias": "mean answer less mean label in test trials; p over subjects, or "
    "sessions where each subject had one",
    "psychometric": "slope, side bias and lapse of choices late in training",
    "covariates": "effects on answers to test stimuli",
    "exposure": "finished sessions by how many the subject had had before",
    "sessions_flagged": "sessions with a quality flag",
    "flag_counts": "sessions by flag",
    "flags": "session, flag, value, limit and reason of each quality flag",
    "problems": "what of the journal was damaged: where, row, reason, consequence",
    "notes": "why a part has no numbers, by part",
}
"""Keys of each entry of ``studies``, in their order."""
