"""What a study and its analysis rest on: references to cite, also as BibTeX."""

from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from analysis.finding import Finding

_ANALYSED_WITH = ("penchant", "numpy", "scipy", "pandas", "statsmodels", "matplotlib")
"""Distributions whose version changes what an analysis computes or draws."""


class Reference(NamedTuple):
    """A work to cite: how a text names it, where it is to be found, its BibTeX."""

    key: str
    kind: str
    names: str
    fields: dict[str, str]

    @property
    def text(self) -> str:
        """As a list of references has it."""
        of = self.fields
        place = [of.get("booktitle") or of.get("journal") or of.get("note", "")]
        volume = of.get("volume", "")
        pages = of.get("pages", "").replace("--", "-")
        place.append(f"{volume}:{pages}" if volume and pages else volume or pages)
        where = " ".join(filter(None, place))
        doi = f" doi:{of['doi']}" if "doi" in of else ""
        authors = _plain(of["author"])
        listed = authors.split(" and ")
        named = "; ".join(listed[:3]) + (" et al." if len(listed) > 3 else "")
        return f"{named} ({of['year']}). {_plain(of['title'])}. {_plain(where)}.{doi}"

    @property
    def bibtex(self) -> str:
        """As an entry of a ``.bib`` file."""
        lines = [f"  {name} = {{{value}}}," for name, value in self.fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def _plain(text: str) -> str:
    """Without what only BibTeX needs."""
    for marked, plain in (("{\\'e}", "é"), ("\\&", "&"), ("{", ""), ("}", "")):
        text = text.replace(marked, plain)
    return text


def references(findings: list[Finding], *more: str) -> list[Reference]:
    """The works that these studies and their analysis rest on, the method first.

    ``more`` are keys of others.
    """
    wanted = ["dorrell2023"]
    for study in (finding.record.study for finding in findings):
        search = study.file.search
        method = search.strategy if search.method == "hybrid" else search.method
        wanted += _OF_METHOD.get(method or "", [])
        if not (study.by_gradient or study.by_model):
            wanted.append("lange2022evosax")
    wanted += ["bradbury2018", *_OF_ANALYSIS, *more]
    return [REFERENCES[key] for key in dict.fromkeys(wanted)]


def bibtex(cited: list[Reference]) -> str:
    """The text of a ``.bib`` file."""
    return "\n\n".join(one.bibtex for one in cited) + "\n"


def analysed_with() -> dict[str, str]:
    """Versions of what computes and draws the analysis, now."""
    found = {}
    for name in _ANALYSED_WITH:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that is not installed
            continue
    return found


_OF_METHOD = {
    "DES": ["lange2023des"],
    "CMA_ES": ["hansen2016"],
    "Sep_CMA_ES": ["ros2008"],
    "subject_model": ["cabezas2024", "hoffman2014"],
    "adam": ["kingma2015"],
    "adagrad": ["duchi2011"],
}
_OF_ANALYSIS = [
    "harris2020",
    "virtanen2020",
    "seabold2010",
    "mckinney2010",
    "hunter2007",
    "mackinnon1985",
    "phipson2010",
    "okabe2008",
]

_ENTRIES = (
    Reference(
        "dorrell2023",
        "inproceedings",
        "Dorrell et al. 2023",
        {
            "author": "Dorrell, William and Yuffa, Maria and Latham, Peter E.",
            "title": "Meta-Learning the Inductive Bias of Simple Neural Circuits",
            "booktitle": "Proceedings of the 40th International Conference on Machine "
            "Learning",
            "volume": "202",
            "series": "PMLR",
            "year": "2023",
        },
    ),
    Reference(
        "lange2022evosax",
        "article",
        "Lange 2022",
        {
            "author": "Lange, Robert Tjarko",
            "title": "evosax: {JAX}-based Evolution Strategies",
            "journal": "arXiv:2212.04180",
            "year": "2022",
        },
    ),
    Reference(
        "lange2023des",
        "inproceedings",
        "Lange et al. 2023",
        {
            "author": "Lange, Robert Tjarko and Schaul, Tom and Chen, Yutian and "
            "Zahavy, Tom and Dalibard, Valentin and Lu, Chris and Singh, Satinder and "
            "Flennerhag, Sebastian",
            "title": "Discovering Evolution Strategies via Meta-Black-Box Optimization",
            "booktitle": "International Conference on Learning Representations",
            "year": "2023",
        },
    ),
    Reference(
        "hansen2016",
        "article",
        "Hansen 2016",
        {
            "author": "Hansen, Nikolaus",
            "title": "The {CMA} Evolution Strategy: A Tutorial",
            "journal": "arXiv:1604.00772",
            "year": "2016",
        },
    ),
    Reference(
        "ros2008",
        "inproceedings",
        "Ros & Hansen 2008",
        {
            "author": "Ros, Raymond and Hansen, Nikolaus",
            "title": "A Simple Modification in {CMA-ES} Achieving Linear Time and "
            "Space Complexity",
            "booktitle": "Parallel Problem Solving from Nature X",
            "pages": "296--305",
            "year": "2008",
        },
    ),
    Reference(
        "kingma2015",
        "inproceedings",
        "Kingma & Ba 2015",
        {
            "author": "Kingma, Diederik P. and Ba, Jimmy",
            "title": "Adam: A Method for Stochastic Optimization",
            "booktitle": "International Conference on Learning Representations",
            "year": "2015",
        },
    ),
    Reference(
        "duchi2011",
        "article",
        "Duchi et al. 2011",
        {
            "author": "Duchi, John and Hazan, Elad and Singer, Yoram",
            "title": "Adaptive Subgradient Methods for Online Learning and Stochastic "
            "Optimization",
            "journal": "Journal of Machine Learning Research",
            "volume": "12",
            "pages": "2121--2159",
            "year": "2011",
        },
    ),
    Reference(
        "cabezas2024",
        "article",
        "Cabezas et al. 2024",
        {
            "author": "Cabezas, Alberto and Corenflos, Adrien and Lao, Junpeng and "
            "Louf, R{\\'e}mi",
            "title": "{BlackJAX}: Composable {Bayesian} Inference in {JAX}",
            "journal": "arXiv:2402.10797",
            "year": "2024",
        },
    ),
    Reference(
        "hoffman2014",
        "article",
        "Hoffman & Gelman 2014",
        {
            "author": "Hoffman, Matthew D. and Gelman, Andrew",
            "title": "The No-{U}-Turn Sampler: Adaptively Setting Path Lengths in "
            "{Hamiltonian} {Monte} {Carlo}",
            "journal": "Journal of Machine Learning Research",
            "volume": "15",
            "pages": "1593--1623",
            "year": "2014",
        },
    ),
    Reference(
        "bradbury2018",
        "misc",
        "Bradbury et al. 2018",
        {
            "author": "Bradbury, James and Frostig, Roy and Hawkins, Peter and others",
            "title": "{JAX}: composable transformations of {Python}+{NumPy} programs",
            "note": "github.com/jax-ml/jax",
            "year": "2018",
        },
    ),
    Reference(
        "harris2020",
        "article",
        "Harris et al. 2020",
        {
            "author": "Harris, Charles R. and Millman, K. Jarrod and van der Walt, "
            "St{\\'e}fan J. and others",
            "title": "Array programming with {NumPy}",
            "journal": "Nature",
            "volume": "585",
            "pages": "357--362",
            "year": "2020",
            "doi": "10.1038/s41586-020-2649-2",
        },
    ),
    Reference(
        "virtanen2020",
        "article",
        "Virtanen et al. 2020",
        {
            "author": "Virtanen, Pauli and Gommers, Ralf and Oliphant, Travis E. and "
            "others",
            "title": "{SciPy} 1.0: Fundamental Algorithms for Scientific Computing in "
            "{Python}",
            "journal": "Nature Methods",
            "volume": "17",
            "pages": "261--272",
            "year": "2020",
            "doi": "10.1038/s41592-019-0686-2",
        },
    ),
    Reference(
        "seabold2010",
        "inproceedings",
        "Seabold & Perktold 2010",
        {
            "author": "Seabold, Skipper and Perktold, Josef",
            "title": "statsmodels: Econometric and statistical modeling with {Python}",
            "booktitle": "Proceedings of the 9th Python in Science Conference",
            "year": "2010",
            "doi": "10.25080/Majora-92bf1922-011",
        },
    ),
    Reference(
        "mckinney2010",
        "inproceedings",
        "McKinney 2010",
        {
            "author": "McKinney, Wes",
            "title": "Data Structures for Statistical Computing in {Python}",
            "booktitle": "Proceedings of the 9th Python in Science Conference",
            "year": "2010",
            "doi": "10.25080/Majora-92bf1922-00a",
        },
    ),
    Reference(
        "hunter2007",
        "article",
        "Hunter 2007",
        {
            "author": "Hunter, John D.",
            "title": "Matplotlib: A {2D} Graphics Environment",
            "journal": "Computing in Science \\& Engineering",
            "volume": "9",
            "pages": "90--95",
            "year": "2007",
            "doi": "10.1109/MCSE.2007.55",
        },
    ),
    Reference(
        "mackinnon1985",
        "article",
        "MacKinnon & White 1985",
        {
            "author": "MacKinnon, James G. and White, Halbert",
            "title": "Some heteroskedasticity-consistent covariance matrix estimators "
            "with improved finite sample properties",
            "journal": "Journal of Econometrics",
            "volume": "29",
            "pages": "305--325",
            "year": "1985",
            "doi": "10.1016/0304-4076(85)90158-7",
        },
    ),
    Reference(
        "phipson2010",
        "article",
        "Phipson & Smyth 2010",
        {
            "author": "Phipson, Belinda and Smyth, Gordon K.",
            "title": "Permutation {P}-values Should Never Be Zero: Calculating Exact "
            "{P}-values When Permutations Are Randomly Drawn",
            "journal": "Statistical Applications in Genetics and Molecular Biology",
            "volume": "9",
            "pages": "39",
            "year": "2010",
            "doi": "10.2202/1544-6115.1585",
        },
    ),
    Reference(
        "benjamini1995",
        "article",
        "Benjamini & Hochberg 1995",
        {
            "author": "Benjamini, Yoav and Hochberg, Yosef",
            "title": "Controlling the False Discovery Rate: A Practical and Powerful "
            "Approach to Multiple Testing",
            "journal": "Journal of the Royal Statistical Society B",
            "volume": "57",
            "pages": "289--300",
            "year": "1995",
        },
    ),
    Reference(
        "hedges1981",
        "article",
        "Hedges 1981",
        {
            "author": "Hedges, Larry V.",
            "title": "Distribution Theory for {Glass's} Estimator of Effect Size and "
            "Related Estimators",
            "journal": "Journal of Educational Statistics",
            "volume": "6",
            "pages": "107--128",
            "year": "1981",
            "doi": "10.3102/10769986006002107",
        },
    ),
    Reference(
        "okabe2008",
        "misc",
        "Okabe & Ito 2008",
        {
            "author": "Okabe, Masataka and Ito, Kei",
            "title": "Color Universal Design: how to make figures and presentations "
            "that are friendly to colorblind people",
            "note": "jfly.uni-koeln.de/color",
            "year": "2008",
        },
    ),
)

REFERENCES = {one.key: one for one in _ENTRIES}
"""Every work that a report may cite, by its BibTeX key."""
