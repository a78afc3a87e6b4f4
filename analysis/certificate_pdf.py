"""A certificate as a PDF, to be attached to a preregistration."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace
from PIL import Image

from analysis.certificate import Certificate, Range, Rate
from analysis.certificate_words import UNTAUGHT, percent

_INK, _SOFT, _BLUE = (28, 33, 39), (91, 101, 112), (0, 103, 163)
_WARN, _LINE = (255, 247, 230), (217, 222, 227)
_SIZE = 9.5
_MM_OF_A_PANEL = 90
_MARGIN_MM = 18

Rows = Sequence[Sequence[str]]


class _Pages(FPDF):
    """A4 with the certificate's name and hash at the foot of each page."""

    foot = ""

    def footer(self) -> None:
        """The line at the foot."""
        self.set_y(-12)
        self.set_font("sans", size=6.5)
        self.set_text_color(*_SOFT)
        self.cell(0, 4, f"{self.foot}  \N{MIDDLE DOT}  page {self.page_no()} of {{nb}}")


def write_pdf(certificate: Certificate, figure: Path, path: Path) -> None:
    """Write a certificate with its figure (a PNG); the same each time but for its date.

    Fonts are those that come with matplotlib, and are part of the file.
    """
    pages = _pages(certificate)
    _head(pages, certificate)
    _result(pages, certificate, figure)
    _planted(pages, certificate)
    _how(pages, certificate)
    _appendix(pages, certificate)
    pages.output(str(path))


def _pages(c: Certificate) -> _Pages:
    pages = _Pages(format="A4")
    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    pages.add_font("sans", "", fonts / "DejaVuSans.ttf")
    pages.add_font("sans", "b", fonts / "DejaVuSans-Bold.ttf")
    pages.add_font("mono", "", fonts / "DejaVuSansMono.ttf")
    pages.foot = f"Recovery certificate of {c.study}, study file {c.file_sha256}"
    pages.set_title(f"Recovery certificate of {c.study}")
    pages.set_creator("Penchant")
    pages.set_creation_date(datetime.fromisoformat(c.date).replace(tzinfo=UTC))
    pages.set_margin(_MARGIN_MM)
    pages.set_auto_page_break(True, margin=_MARGIN_MM)
    pages.add_page()
    return pages


def _head(pages: _Pages, c: Certificate) -> None:
    pages.set_font("sans", "b", 17)
    pages.set_text_color(*_INK)
    pages.multi_cell(0, 8, f"Recovery certificate of {c.study}", new_x="LMARGIN")
    pages.ln(2)
    _text(
        pages,
        "Would this study find a bias if there is one, and none if there is none? It "
        "was run from beginning to end, on its own budget and with its own noise, with "
        "simulated subjects in which a bias was planted.",
    )
    mine = "the study's own hash" + (
        "" if c.sha256 == c.file_sha256 else ", with stimuli"
    )
    _table(
        pages,
        [
            ("study file", c.file),
            ("its SHA-256 (sha256sum)", c.file_sha256),
            (mine, c.sha256),
            ("made on", f"{c.date}, {len(c.studies):,} simulated studies, {c.how}"),
        ],
        (26, 74),
        head=False,
        words=(0, 1),
    )


def _result(pages: _Pages, c: Certificate, figure: Path) -> None:
    _heading(pages, "What it would find")
    for sentence in c.verdict:
        _text(pages, sentence, bar=_BLUE)
    verified = c.none.confirmed is not None
    several = len(c.studies[0].shares[c.planted[0].bias]) > 1
    head = [
        "planted in its subjects",
        "found",
        *(["found in any component"] if several else []),
        "another beside it",
        "another in its place",
        "share in the first component",
        "the same without a learner",
        "report: beyond its null",
        *(["confirmed"] if verified else []),
        "this study",
    ]
    rows = [
        [
            one.bias,
            _rate(one.found),
            *([_rate(one.found_later)] if several else []),
            f"{one.also.count} of {one.also.of}",
            f"{one.mistaken.count} of {one.mistaken.of}",
            _range(one.share),
            _range(one.null),
            _rate(one.beyond_null),
            *([_rate(one.confirmed)] if verified else []),
            f"{one.word} it",
        ]
        for one in c.planted
    ]
    alarms = f"cries wolf in {percent(c.none.found.share)}"
    rows.append(
        [
            "none",
            _rate(c.none.found),
            *([_rate(c.none.found_later)] if several else []),
            *("", "", "", ""),
            _rate(c.none.beyond_null),
            *([_rate(c.none.confirmed)] if verified else []),
            alarms,
        ]
    )
    extra = (13,) * (several + verified)
    widths = (15, 13, 9, 9, 13, 13, 13, *extra, 13)
    _table(pages, [head, *rows], widths, words=(0, len(head) - 1))
    _picture(pages, figure, min(pages.epw, _MM_OF_A_PANEL * len(c.planted)))
    _text(
        pages,
        "Share of each bias in the first component of every simulated study, by what "
        "was planted in its subjects; dashed, the share from which on a bias may count "
        "as found. In brackets above, exact 95 % intervals of rates, and 5 to 95 % of "
        "shares.",
        soft=True,
    )
    if c.cautions:
        _heading(pages, "With caution", small=True)
        for note in c.cautions:
            _text(pages, f"\N{BULLET} {note}", fill=True)


def _picture(pages: _Pages, figure: Path, wide: float) -> None:
    """A picture so many millimetres wide, or as large as a page takes."""
    with Image.open(figure) as image:
        tall = wide * image.height / image.width
    pages.image(figure, w=wide, h=min(tall, pages.eph), keep_aspect_ratio=True)


def _planted(pages: _Pages, c: Certificate) -> None:
    _heading(pages, "What was planted")
    _text(
        pages,
        "Relative error of each subject on labellings of each bias, from "
        f"{c.training_stimuli} training stimuli: 1 is as good as answering the mean. A "
        "subject has a bias if labellings of it come more easily than others. "
        f"{UNTAUGHT}",
    )
    biases = list(c.natures[0].errors)
    rows = [
        [
            n.subject.split(".")[0],
            n.bias or "nothing",
            *(f"{n.errors[bias]:.2g}" for bias in biases),
        ]
        for n in c.natures
    ]
    head = ["subject", "planted", *(f"error on {bias}" for bias in biases)]
    widths = (34, 18, *((48 / len(biases),) * len(biases)))
    _table(pages, [head, *rows], widths, words=(0, 1))
    for bias, why in c.left_out.items():
        _text(pages, f"Not planted: {bias} ({why}).", soft=True)


def _how(pages: _Pages, c: Certificate) -> None:
    _heading(pages, "What the study is")
    noise = [(name.replace("_", " "), str(value)) for name, value in c.noise.items()]
    _table(pages, [*c.budget.items(), *noise], (32, 68), head=False, words=(0, 1))
    _heading(pages, "How it was done")
    _text(pages, c.methods)
    _heading(pages, "Limits", small=True)
    for note in c.limits:
        _text(pages, f"\N{BULLET} {note}")
    again = (
        " The same study file, settings and versions give the same certificate, apart "
        "from its date."
    )
    again = again if c.how == "in process" else ""
    versions = ", ".join(f"{name} {version}" for name, version in c.versions.items())
    _text(
        pages,
        f"Study seed {c.seed}, from which the seeds of all simulated studies follow; "
        f"made with {versions}.{again}",
        soft=True,
    )


def _appendix(pages: _Pages, c: Certificate) -> None:
    _heading(pages, "Every simulated study")
    biases = [one.bias for one in c.planted]
    head = ["study", "seed", *(f"{bias}: share, p" for bias in biases), "outcome"]
    rows = [
        [
            study.name,
            str(study.seed),
            *(f"{study.shares[b][0]:.2f}, {study.p_values[b]:.3f}" for b in biases),
            study.outcome,
        ]
        for study in c.studies
    ]
    widths = (25, 15, *((48 / len(biases),) * len(biases)), 12)
    _table(pages, [head, *rows], widths, words=(0, len(head) - 1), size=6.5)
    _heading(pages, "Study file")
    pages.set_font("mono", size=6.8)
    pages.set_text_color(*_INK)
    pages.multi_cell(0, 3.4, c.study_file, align="L", new_x="LMARGIN")


def _heading(pages: _Pages, words: str, small: bool = False) -> None:
    if pages.will_page_break(30):
        pages.add_page()
    pages.ln(2 if small else 4)
    pages.set_font("sans", "b", 10 if small else 12.5)
    pages.set_text_color(*_INK)
    pages.multi_cell(0, 6, words, new_x="LMARGIN")
    pages.ln(1)


def _text(
    pages: _Pages,
    words: str,
    soft: bool = False,
    fill: bool = False,
    bar: tuple[int, int, int] | None = None,
) -> None:
    """A paragraph; with a coloured bar at its side, or on a coloured ground."""
    pages.set_font("sans", size=8 if soft else _SIZE)
    pages.set_text_color(*(_SOFT if soft else _INK))
    pages.set_fill_color(*_WARN)
    top, page, inset = pages.get_y(), pages.page_no(), 4 if bar else 0
    pages.set_x(pages.l_margin + inset)
    pages.multi_cell(
        pages.epw - inset, 4 if soft else 4.8, words, fill=fill, align="L",
        new_x="LMARGIN",
    )  # fmt: skip
    if bar and pages.page_no() == page:
        pages.set_fill_color(*bar)
        pages.rect(pages.l_margin, top + 0.4, 1, pages.get_y() - top - 0.8, style="F")
    pages.ln(1.2)


def _table(
    pages: _Pages,
    rows: Rows,
    widths: Sequence[float],
    head: bool = True,
    words: Sequence[int] = (),
    size: float = 7.5,
) -> None:
    """A table; columns ``words`` are set left, numbers right."""
    pages.set_font("sans", size=size)
    pages.set_text_color(*_INK)
    pages.set_draw_color(*_LINE)
    pages.set_fill_color(255)
    columns = range(len(rows[0]))
    with pages.table(
        col_widths=tuple(widths),
        text_align=tuple("LEFT" if i in words else "RIGHT" for i in columns),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        line_height=1.45 * size / 72 * 25.4,
        first_row_as_headings=head,
        headings_style=FontFace(emphasis="BOLD", color=_SOFT),
        padding=(0.6, 1),
    ) as table:
        for row in rows:
            table.row(row)
    pages.ln(2)


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return ""
    return f"{rate.count} of {rate.of} ({rate.low:.2f}-{rate.high:.2f})"


def _range(values: Range) -> str:
    return f"{values.median:.2f} ({values.low:.2f}-{values.high:.2f})"
