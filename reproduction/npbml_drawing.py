"""Pictures of learning procedures: errors, fits, what parts do, accuracies."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from analysis.maps import PALETTE
from analysis.recovery import Floats
from reproduction import planted_orders, sinusoid
from reproduction.npbml_tables import (
    ABLATED_SHOTS,
    ABLATION,
    LOSS_ABLATION,
    NAMES,
    PUBLISHED_ACCURACIES,
    PUBLISHED_ERRORS,
    Found,
    error_and_interval,
    image_accuracy,
    of_rows,
    setting_of,
)

_BORN, _PUBLISHED = "0.55", "#222222"
_COLOURS = {"as born": _BORN, **dict(zip(NAMES, PALETTE, strict=False))}
_TITLES = {"as born": "as born", **NAMES}


def draw_errors(found: Found, strip: SubFigure) -> None:
    """Seeds as dots, mean and interval over tasks beside them, what is published."""
    panels = np.atleast_1d(strip.subplots(1, len(found.errors), sharey=True))
    for axes, (shots, by_name) in zip(panels, found.errors.items(), strict=True):
        for place, (name, rows) in enumerate(by_name.items()):
            colour = _COLOURS[name]
            _seeds(axes, place - 0.12, of_rows("error", rows), colour)
            mean, interval = error_and_interval(rows)
            _interval(axes, place + 0.12, mean, interval, colour)
            axes.annotate(
                f"{mean:.2f}", (place + 0.22, mean), va="center", fontsize="small"
            )
        for name, (mean, interval) in PUBLISHED_ERRORS.items():
            if shots == ABLATED_SHOTS:
                beside = list(by_name).index(name) - 0.34
                _interval(axes, beside, mean, interval, _PUBLISHED, "D")
        axes.axhline(sinusoid.OF_SILENCE, color="0.7", ls=":", zorder=0)
        axes.set(yscale="log", title=f"{shots} shot", xlim=(-0.6, len(by_name) - 0.2))
        axes.set_xticks(range(len(by_name)), [_TITLES[name] for name in by_name])
        _plain_log(axes)
    panels[0].set(ylabel="mean squared error")
    shown = {"marker": "D", "color": _PUBLISHED, "ls": "", "ms": 4}
    panels[0].plot([], [], **shown, label="published (Li et al. 2017)")
    panels[0].plot([], [], ".", color="0.4", label="seeds")
    panels[0].plot([], [], ":", color="0.7", label="says 0 always")
    panels[0].legend(loc="lower left", fontsize="small")


def draw_fits(found: Found, strip: SubFigure) -> None:
    """One task by the first seed of every procedure."""
    by_name = found.errors[ABLATED_SHOTS]
    task = sinusoid.shown_task(ABLATED_SHOTS)
    panels = strip.subplots(1, len(by_name), sharey=True)
    for axes, (name, rows) in zip(panels, by_name.items(), strict=True):
        grid, colour = sinusoid.GRID, _COLOURS[name]
        axes.plot(grid, sinusoid.sine(grid), color="0.8", lw=4, label="the task")
        axes.plot(grid, rows[0]["before"], "--", color="0.4", lw=1, label="before")
        axes.plot(grid, rows[0]["after"], color=colour, lw=1.8, label="after")
        axes.plot(task.x[:, 0], task.y, "o", color=_PUBLISHED, ms=5, label="shown")
        axes.set(title=_TITLES[name], xlabel="x", ylim=(-5.2, 5.2))
    panels[0].set(ylabel="y")
    handles, labels = panels[-1].get_legend_handles_labels()
    strip.legend(handles, labels, loc="outside right center", fontsize="small")


def draw_ablation(found: Found, strip: SubFigure) -> None:
    """Our errors, and beside them those of the paper's classification."""
    ours, theirs = strip.subplots(1, 2, sharey=True)
    names = [*ABLATION, *LOSS_ABLATION]
    # A gap between the two tables.
    places = [i + 0.6 * (i >= len(ABLATION)) for i in range(len(names))]
    published = {name: row[1] for name, row in (ABLATION | LOSS_ABLATION).items()}
    for place, name in zip(places, names, strict=True):
        colour = PALETTE[0] if name in ABLATION else PALETTE[1]
        rows = found.ablation[name]
        errors = of_rows("error", rows)
        ours.barh(place, errors.mean(), 0.6, color=colour, alpha=0.7)
        ours.plot(errors, place + np.linspace(-0.15, 0.15, len(errors)), ".", color="k")
        at_right = {"transform": ours.get_yaxis_transform(), "ha": "right"}
        ours.text(1.0, place, f"{errors.mean():.2f}", va="center", **at_right)
        missed = 100 - published[name]
        theirs.barh(place, missed, 0.6, color=colour, alpha=0.35)
        theirs.annotate(f" {missed:.1f} %", (missed, place), va="center")
    ours.set_yticks(places, names)
    ours.invert_yaxis()
    ours.set(
        xlabel="mean squared error",
        title=f"ours: sinusoids, {ABLATED_SHOTS} shot, same number of meta-steps",
    )
    theirs.set(xlabel="images misclassified (%)", title="paper: mini-ImageNet")
    theirs.tick_params(axis="y", length=0)
    theirs.margins(x=0.15)
    ours.margins(x=0.15)


def draw_orders(found: Found, strip: SubFigure) -> None:
    """Error on each order: lower is what comes more easily."""
    axes = strip.subplots()
    names = list(found.orders)
    for k, order in enumerate(planted_orders.ORDERS):
        places = np.arange(len(names)) + (k - 1.5) * 0.15
        errors = np.array(
            [[row["errors"][k] for row in found.orders[n]] for n in names]
        )
        colour = PALETTE[k]
        for i, place in enumerate(places):
            axes.plot([place] * errors.shape[1], errors[i], ".", color=colour, ms=4)
        axes.plot(places, errors.mean(1), "_", color=colour, ms=11, mew=2.4)
        axes.plot([], [], "s", color=colour, label=f"order {order}")
    axes.axhline(1, color="0.8", lw=1, zorder=0)
    axes.set(yscale="log", ylabel="relative test error")
    axes.set_xticks(range(len(names)), [name.replace(" (", "\n(") for name in names])
    _plain_log(axes)
    strip.legend(loc="outside right center", fontsize="small")


def draw_images(found: Found, strip: SubFigure) -> None:
    """Accuracies on each image set, chance and what is published."""
    panels = np.atleast_1d(strip.subplots(1, len(found.images)))
    for axes, (name, by_name) in zip(panels, found.images.items(), strict=True):
        setting = setting_of(name)
        known = PUBLISHED_ACCURACIES.get((name, setting.shots), {})
        for place, (procedure, rows) in enumerate(by_name.items()):
            colour = _COLOURS.get(procedure, "0.5")
            _seeds(axes, place - 0.1, 100 * of_rows("mean", rows), colour)
            mean, interval = (100 * value for value in image_accuracy(rows))
            _interval(axes, place + 0.1, mean, interval, colour)
            axes.annotate(f"{mean:.1f} %", (place + 0.2, mean), va="center")
            if procedure in known:
                axes.plot(place - 0.3, known[procedure], "D", color=_PUBLISHED, ms=4)
        axes.axhline(100 / setting.ways, color="0.6", ls=":", label="chance")
        axes.set_xticks(range(len(by_name)), [NAMES.get(n, n) for n in by_name])
        axes.set(
            title=f"{name}, {setting.ways}-way {setting.shots}-shot",
            xlim=(-0.6, len(by_name) - 0.2),
            ylim=(0, 100),
        )
        axes.legend(loc="lower right", fontsize="small")
    panels[0].set(ylabel="accuracy (%)")


def _seeds(axes: Axes, place: float, values: Floats, colour: str) -> None:
    axes.plot([place] * len(values), values, ".", color=colour, alpha=0.7)


def _interval(
    axes: Axes, place: float, mean: float, half: float, colour: str, marker: str = "o"
) -> None:
    axes.errorbar(
        place, mean, half, color=colour, marker=marker, ms=5, capsize=3, lw=1.4
    )


def _plain_log(axes: Axes) -> None:
    """Ticks in plain numbers."""
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
