"""What is compared of learning procedures, what was found, and the tables of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from analysis.recovery import Floats
from reproduction import planted_orders
from reproduction.claim import Table
from reproduction.few_shot.classify import SETTINGS, Accuracy, Setting, pooled
from reproduction.few_shot.image_sets import IMAGE_SETS
from reproduction.finished_rows import Row
from simulated_subjects.procedure import LOSS_TERMS, PROCEDURES, Parts

NAMES = {
    "maml": "MAML",
    "meta_sgd": "Meta-SGD",
    "t_net": "T-Net",
    "npbml": "NPBML",
}
"""Procedures of :data:`PROCEDURES`, as their papers call them."""

UNTAUGHT = "pre-trained"
"""An encoder without meta-training: the null of accuracies on images."""

ABLATION: dict[str, tuple[Parts, float]] = {
    "initialisation (MAML)": (PROCEDURES["maml"], 65.38),
    "+ optimiser": (Parts(preconditioning=True), 67.47),
    "+ loss": (Parts(loss=LOSS_TERMS), 71.75),
    "+ optimiser, loss": (Parts(preconditioning=True, loss=LOSS_TERMS), 72.79),
    "+ modulation (NPBML)": (PROCEDURES["npbml"], 75.01),
}
"""Parts in the order of the paper's table 3, and its accuracies (%).

Mini-ImageNet, 5-way 5-shot, 4-CONV.
"""

LOSS_ABLATION: dict[str, tuple[Parts, float]] = {
    "inductive term": (Parts(loss=("inductive",)), 70.68),
    "transductive term": (Parts(loss=("transductive",)), 70.92),
    "regulariser": (Parts(loss=("regulariser",)), 70.04),
    "all three": (Parts(loss=LOSS_TERMS), 71.75),
}
"""Terms of the loss, as the paper's table 4, beside the learnt initialisation."""

ABLATED_SHOTS = 5
"""Of the ablation: as of the paper's."""

PUBLISHED_ERRORS = {"maml": (1.13, 0.18), "meta_sgd": (0.90, 0.16)}
"""Of Li et al. 2017, table 1, 5 shot, with the half of the 95 % interval."""

PUBLISHED_ACCURACIES = {("mini_imagenet", 5): {"maml": 65.38, "npbml": 75.01}}
"""By image set and shots: 5-way, 4-CONV (%), of Raymond et al. 2024."""


class Found(NamedTuple):
    """Rows by name of what was learnt; of each, one for each seed."""

    errors: dict[int, dict[str, list[Row]]]
    """On sinusoids, for each number of shots."""
    ablation: dict[str, list[Row]]
    orders: dict[str, list[Row]]
    """Of subjects planted with order 2."""
    images: dict[str, dict[str, list[Row]]]
    """Accuracies, for each image set."""


def of_rows(what: str, rows: Sequence[Row]) -> Floats:
    """A number of each row, ``(seeds,)``."""
    return np.array([row[what] for row in rows], np.float64)


def setting_of(image_set: str) -> Setting:
    """How an image set is learnt: where accuracies are published, with 5 shots."""
    setting = SETTINGS[image_set]
    return replace(setting, shots=5) if IMAGE_SETS[image_set].needs_path else setting


def tables(found: Found) -> list[Table]:
    """Everything that was measured, with intervals."""
    return [
        _error_table(found.errors),
        _ablation_table(found.ablation),
        _order_table(found.orders),
        *(_image_table(name, rows) for name, rows in found.images.items()),
    ]


def error_and_interval(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean over seeds, and half of its 95 % interval over the tasks of the test.

    All seeds were tested on the same tasks, so that more seeds do not narrow it.
    """
    each = of_rows("error", rows), of_rows("interval", rows)
    return float(each[0].mean()), float(each[1].mean())


def _error_table(errors: Mapping[int, Mapping[str, list[Row]]]) -> Table:
    shots = list(errors)
    lines = []
    for name in errors[shots[0]]:
        cells = [_error_cell(errors[each][name]) for each in shots]
        learnt = errors[shots[0]][name][0]["learnt"] if name in NAMES else 0
        published = PUBLISHED_ERRORS.get(name)
        told = "{:.2f} ± {:.2f}".format(*published) if published else ""
        lines.append((NAMES.get(name, name), str(learnt), *cells, told))
    tasks = errors[shots[0]]["maml"][0]["tasks"]
    return Table(
        f"Mean squared error on {tasks} sinusoids, mean over seeds ± 95 % interval "
        "over sinusoids (range over seeds)",
        (
            "procedure",
            "numbers learnt over tasks",
            *(f"{each} shot" for each in shots),
            "published, 5 shot",
        ),
        lines,
    )


def _ablation_table(ablation: Mapping[str, list[Row]]) -> Table:
    published = {name: row[1] for name, row in (ABLATION | LOSS_ABLATION).items()}
    lines = [
        (name, str(rows[0]["learnt"]), _error_cell(rows), f"{published[name]:.2f}")
        for name, rows in ablation.items()
    ]
    return Table(
        f"Ablation: mean squared error on sinusoids, {ABLATED_SHOTS} shot, beside "
        "accuracies (%) on mini-ImageNet, 5-way 5-shot (Raymond et al. 2024, tables 3 "
        "and 4)",
        ("learnt", "numbers learnt over tasks", "our error", "published accuracy"),
        lines,
    )


def _order_table(orders: Mapping[str, list[Row]]) -> Table:
    lines = []
    for name, rows in orders.items():
        each = np.array([row["errors"] for row in rows]).T
        cells = [f"{e.mean():.3f} ({e.min():.3f} to {e.max():.3f})" for e in each]
        lines.append((name, *cells))
    return Table(
        f"Relative test error of subjects planted with {planted_orders.BIAS}, from "
        f"{planted_orders.STIMULI} points, mean (range over seeds)",
        ("learnt", *(f"order {order}" for order in planted_orders.ORDERS)),
        lines,
    )


def _image_table(name: str, found: Mapping[str, list[Row]]) -> Table:
    setting = setting_of(name)
    known = PUBLISHED_ACCURACIES.get((name, setting.shots), {})
    lines = []
    for procedure, rows in found.items():
        mean, interval = image_accuracy(rows)
        published = f"{known[procedure]:.2f}" if procedure in known else ""
        counts = str(rows[0]["adapted"]), str(rows[0]["meta_learnt"])
        told = f"{100 * mean:.1f} ± {100 * interval:.1f}"
        called = NAMES.get(procedure, procedure)
        lines.append((called, *counts, told, published))
    return Table(
        f"Accuracy (%) on {name}, {setting.ways}-way {setting.shots}-shot, mean ± 95 % "
        f"interval over {len(found['maml'])} seeds",
        ("procedure", "numbers that adapt", "learnt over tasks", "ours", "published"),
        lines,
    )


def image_accuracy(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean over seeds and half of its 95 % interval."""
    each = [Accuracy(**{k: row[k] for k in Accuracy._fields}) for row in rows]
    together = pooled(each)
    return together.mean, together.interval


def _error_cell(rows: Sequence[Row]) -> str:
    mean, interval = error_and_interval(rows)
    each = of_rows("error", rows)
    return f"{mean:.3f} ± {interval:.3f} ({each.min():.3f} to {each.max():.3f})"
