"""A certificate as files: page, PDF, numbers, figure."""

from pathlib import Path

from analysis.certificate import Certificate, write
from analysis.certificate_figure import certificate_figure
from analysis.certificate_pdf import write_pdf
from analysis.certificate_words import UNTAUGHT
from analysis.page import save, template

PAGE, PDF = "certificate.html", "certificate.pdf"


def write_certificate(certificate: Certificate, out: Path) -> Path:
    """Write certificate.html, .pdf, .json, and the figure as PNG and SVG, into ``out``.

    Each needs no other file. Returns the path of the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    write(certificate, out)
    figure = save(certificate_figure(certificate), out / "certificate-shares.png")
    page = out / PAGE
    filled = template("certificate.html").render(
        c=certificate, figure=figure, untaught=UNTAUGHT
    )
    page.write_text(filled, encoding="utf-8")
    write_pdf(certificate, out / "certificate-shares.png", out / PDF)
    return page
