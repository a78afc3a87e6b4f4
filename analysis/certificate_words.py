"""A certificate in words: what a study would find, how that was tried, its limits."""

from collections.abc import Sequence
from typing import Any

from analysis.certificate import FINDS, MISSES, Blank, Nature, Planted, Rate
from analysis.certificate_judge import LEVEL, SHARE
from meta_learner.objective import CONTRASTS
from server.study_file import Study
from simulated_subjects.planting import FRESH_STEPS, HIDDEN, STEPS, WAVE

UNTAUGHT = (
    "Untaught is the same network without any upbringing: it starts at random and has "
    f"{FRESH_STEPS} steps of plain gradient descent, not the {STEPS} of a planted one."
)

_ENOUGH = 0.4
"""Width of an interval below which a rate is well known."""

_LIMITS = (
    (
        "It says nothing of a subject whose bias is not among those planted, and "
        "nothing of what bias the real subject has."
    ),
    (
        "Planted subjects have one strong bias each, and those of a bias are much "
        "alike: a weak or mixed bias, or subjects that differ, may take more sessions."
    ),
    (
        "A real subject is noisier than its stand-in: it drifts, tires, leaves. The "
        "noise here is what the study file says, and no session was lost."
    ),
    (
        "Its intervals treat simulated studies as independent draws, of these subjects "
        "and beside one and the same set of searches without a learner: they hold for "
        "these subjects, not for others with the same bias."
    ),
    (
        "It holds for this study file and for the versions named here: another "
        "budget, search or stimulus space needs another certificate."
    ),
)


def verdict(planted: Sequence[Planted], none: Blank) -> list[str]:
    """The result in a few sentences."""
    heads = {
        "finds": "This study would find: ",
        "sometimes finds": "It would find some of the time: ",
        "misses": "It would miss: ",
    }
    said: list[str] = []
    for word, head in heads.items():
        own = [one for one in planted if one.word == word]
        if own:
            first = head if said else head.replace("It ", "This study ")
            said.append(f"{first}{'; '.join(map(_found, own))}.")
    said.append(
        f"It cried wolf in {_of(none.found)} of subjects without any bias "
        f"({interval(none.found)}); its report would call a component of theirs beyond "
        f"its null in {_of(none.beyond_null)} ({interval(none.beyond_null)})."
    )
    return said


def in_short(planted: Sequence[Planted], none: Blank) -> str:
    """The result in one line."""
    each = {
        word: ", ".join(one.bias for one in planted if one.word == word)
        for word in ("finds", "sometimes finds", "misses")
    }
    said = "; ".join(f"{word} {names}" for word, names in each.items() if names)
    return f"{said}; cried wolf in {_of(none.found)}"


def cautions(
    study: Study, planted: Sequence[Planted], none: Blank, natures: Sequence[Nature]
) -> list[str]:
    """What weakens the result."""
    notes = [
        note(one) for note in (_not_told_apart, _beside, _mistaken) for one in planted
    ]
    notes += [
        f"Subject {nature.subject} did not take the bias {nature.bias}: "
        f"labellings of {_easiest(nature)} come as easily to it, or answering the mean "
        "does as well. What the study made of it says little."
        for nature in natures
        if nature.bias and not took(nature)
    ]
    notes.append(_verification_cried(none))
    if not any(noise_of(study)):
        notes.append(
            "The study file has its simulated subjects answer without any noise. Set "
            "[simulated_responses], and label_noise, to what a pilot shows, and "
            "certify again: no real subject is so exact."
        )
    if none.found.low > LEVEL:
        notes.append(
            "Even the lower end of the interval of its false alarms is above "
            f"{percent(LEVEL)}: a bias that this study finds is not to be believed."
        )
    rates = [one.found for one in planted] + [none.found]
    widest = max(rate.high - rate.low for rate in rates)
    if widest > _ENOUGH:
        least = min(rate.of for rate in rates)
        notes.append(
            f"Few studies were simulated ({least} for the least certain rate): the "
            "intervals say how far off the shares may be. --studies and --none take "
            "more, and go on from these."
        )
    return [note for note in notes if note]


def methods(study: Study, replicates: int, natures: Sequence[Nature]) -> str:
    """How it was done, as a paper would say it."""
    own = [nature for nature in natures if nature.bias is not None]
    first, second = HIDDEN
    return (
        f"Networks ({len(own)}) were meta-trained (NPBML: initialisation, loss, "
        "preconditioned gradient and modulation, learnt over many tasks) on labellings "
        f"of one bias each, from {study.design.training_stimuli} training stimuli as "
        f"in the study. A network has a layer of {first} sines of {WAVE:g} times their "
        f"drive and one of {second} ReLU units, and learns in {STEPS} steps. "
        f"Of {len(own)} a bias took in {sum(map(took, own))}: no other that was looked "
        "at comes more easily. They took the place of the "
        f"study's subjects{_in_groups(study)}; stimuli, labelling family, search, "
        "budget, response type, noise, allocation and verification stayed as the study "
        "file has them, under another seed. Subjects without any bias answered at "
        "random, whatever they were taught. Nothing but answers reached the search. "
        "Of the first component that a study found, the share of the variance of its "
        "labels was taken that lies in the span of each bias's functions (least "
        "squares with a constant, on stimuli drawn from the study's distribution). A "
        f"bias counts as found with a share of {SHARE:g} or more that at most "
        f"{percent(LEVEL)} of searches reach which listen to no learner "
        f"({replicates:,} of them, the same pipeline with the weight of the "
        "generalisation error at zero). A study finds a bias that was found in "
        f"{percent(FINDS)} or more of the simulated studies of it, and misses one that "
        f"was in {percent(MISSES)} or less. Intervals are exact 95 % intervals of a "
        "share (Clopper & Pearson)."
    )


def limits(study: Study) -> list[str]:
    """What no certificate says."""
    said = list(_LIMITS)
    if study.objective.aim in CONTRASTS:
        said.append(
            "In the studies without any bias both groups answered at random: what this "
            "contrast makes of two groups that share a strong bias was not tried."
        )
    if study.by_gradient:
        said.append(
            "The search follows gradients through its simulated subjects, so no real "
            "subject can take part in this study."
        )
    return said


def percent(share: float) -> str:
    """A share of a hundred, as whole per cent."""
    return f"{100 * share:.0f} %"


def interval(rate: Rate) -> str:
    """The interval of a rate, in words."""
    return f"95 % interval {rate.low:.2f} to {rate.high:.2f}"


def took(nature: Nature) -> bool:
    """Whether a subject has the bias that was planted: no other comes more easily."""
    own = nature.errors[nature.bias] if nature.bias else 0.0
    return own < 1 and own <= min(nature.errors.values())


def label_noise(study: Study) -> Any:
    """Private noise of training labels: of the subject, or of each group."""
    if study.file.groups:
        own = {
            name: of.get("label_noise", 0.0) for name, of in study.file.groups.items()
        }
        return own if any(own.values()) else 0.0
    return (study.file.simulated_subject or {}).get("label_noise", 0.0)


def noise_of(study: Study) -> list[bool]:
    """Whether answers, and labels as perceived, have any noise."""
    options = study.file.simulated_responses
    return [
        bool(label_noise(study)),
        study.design.response == "choice" or any(options.values()),
    ]


def _of(rate: Rate) -> str:
    """Count and number of studies."""
    return f"{rate.count} of {rate.of} {'study' if rate.of == 1 else 'studies'}"


def _found(one: Planted) -> str:
    return f"{one.bias} ({_of(one.found)}, {interval(one.found)})"


def _not_told_apart(one: Planted) -> str:
    """Where the null has as much of a bias as the subjects that have it."""
    usual = one.null.high >= one.share.median >= SHARE
    if one.found.share >= FINDS or not usual:
        return ""
    null = f"{one.null.median:.2f} ({one.null.low:.2f} to {one.null.high:.2f})"
    return (
        f"Components found in subjects with {one.bias} have it in a share of "
        f"{one.share.median:.2f}, but searches that listen to no learner have {null}: "
        "however well it is found, this study cannot tell such a bias from what its "
        "search prefers by itself. Another labelling family, such as basis, may."
    )


def _beside(one: Planted) -> str:
    if not one.also.count:
        return ""
    return (
        f"In {_of(one.also)} of subjects with {one.bias} another bias was found "
        "beside it: biases may share functions, as the square of a feature is of order "
        "2 too, and this study does not tell such apart."
    )


def _easiest(nature: Nature) -> str:
    """The bias beside its own of which a subject's error is least."""
    others = {name: e for name, e in nature.errors.items() if name != nature.bias}
    return min(others, key=lambda name: others[name], default="no other bias")


def _mistaken(one: Planted) -> str:
    if not one.mistaken.count:
        return ""
    return (
        f"In {_of(one.mistaken)} of subjects with {one.bias} another bias was found "
        "in its place."
    )


def _verification_cried(none: Blank) -> str:
    if none.confirmed is None:
        return ""
    return (
        f"The study's verification confirmed a component in {_of(none.confirmed)} of "
        f"subjects without any bias ({interval(none.confirmed)})."
    )


def _in_groups(study: Study) -> str:
    if not study.file.groups:
        return ""
    if study.objective.aim in CONTRASTS:
        chosen, *others = study.groups
        return (
            f" in the group {chosen}, with subjects that learn nothing in "
            f"{', '.join(others)}"
        )
    return f" in every group ({', '.join(study.groups)})"
