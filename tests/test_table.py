"""Stimulus tables: what a lab's CSV may hold, and every bad one."""

import csv
import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from test_stimuli import KEY, TONES, basis, check_basis, draw

from stimuli.circle import Circle
from stimuli.table import Table

pytestmark = pytest.mark.usefixtures("strict_shapes")


def write(folder: Path, text: str, name: str = "table.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def table_of(folder: Path, **columns: Any) -> Table:
    rows = enumerate(zip(*columns.values(), strict=True))
    lines = [",".join(["id", *columns])]
    lines += [",".join([f"s{i}", *map(repr, map(float, row))]) for i, row in rows]
    return Table(write(folder, "\n".join(lines)))


def test_table_presents_the_rows_of_its_file() -> None:
    table = Table(str(TONES))
    with TONES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [table.present(x) for x in table.grid(0)]
    assert [{k: str(v) for k, v in row.items()} for row in shown] == [
        {"id": r["id"]} | {k: str(float(v)) for k, v in r.items() if k != "id"}
        for r in rows
    ]
    frequency, level = table.features
    assert (frequency.name, frequency.unit) == ("frequency", "Hz")
    assert (level.name, level.unit, level.low, level.high) == ("level", "dB", 50, 80)


def test_table_reads_what_spreadsheets_write(tmp_path: Path) -> None:
    """A byte order mark, quotes, blank lines, spaces, columns in any order."""
    (tmp_path / "a b.wav").touch()
    text = (
        "\ufefffile, pitch [Hz] ,id\r\n"
        '"a b.wav",1,"one, two"\r\n\r\na b.wav,2e0,β\r\n,,\r\na b.wav, -3 ,3\r\n'
    )
    table = Table(write(tmp_path, text))
    assert table.features[0].name == "pitch"
    shown = [table.present(x) for x in table.grid(0)]
    assert shown[0] == {"file": "a b.wav", "pitch [Hz]": 1.0, "id": "one, two"}
    assert [row["id"] for row in shown[1:]] == ["β", "3"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(*[st.integers(-(10**9), 10**9)] * 2),
        min_size=3,
        max_size=20,
        unique_by=(lambda row: row[0] // 1_000_000, lambda row: row[1] // 1_000_000),
    )
)
def test_table_gives_back_any_numbers(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]]
) -> None:
    values = np.array(rows) / 1e3
    folder = tmp_path_factory.mktemp("table")
    try:
        table = table_of(folder, a=values[:, 0], b=values[:, 1])
    except ValueError as error:
        assert "have the same features" in str(error)  # noqa: PT017
        return
    x = np.asarray(table.grid(0))
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-5)
    for point, row in zip(np.round(x.astype(float), 6), values, strict=True):
        shown = table.present(point.tolist())
        assert (shown["a"], shown["b"]) == tuple(row)


def test_table_draws_every_stimulus_once_and_equally_often() -> None:
    table = Table(str(TONES))
    n = 10
    keys = jax.random.split(KEY, 2000)
    x = jax.jit(jax.vmap(lambda key: table.sample(key, n)))(keys)
    same = np.asarray(x)[:, :, None] == np.asarray(table.grid(0))
    row = same.all(-1).argmax(-1)
    assert all(len(set(drawn)) == n for drawn in row)
    share = np.bincount(row.ravel(), minlength=60) / len(keys)
    p = n / 60
    assert abs(share - p).max() < 5 * math.sqrt(p * (1 - p) / len(keys))
    with pytest.raises(ValueError, match="holds 60 stimuli, but 61 different"):
        table.sample(KEY, 61)


def test_table_on_a_line_has_functions_that_cross_zero_once_more_each(
    tmp_path: Path,
) -> None:
    table = table_of(tmp_path, position=np.linspace(0, 1, 30) ** 1.5)
    values, _ = basis(table, table.grid(0), 6)
    crossings = (np.diff(np.sign(values), axis=0) != 0).sum(0)
    assert crossings.tolist() == list(range(7))
    assert table.view(table.grid(0)).shape == (30, 2)


def test_table_on_a_circle_has_the_fourier_series(tmp_path: Path) -> None:
    x = Circle().grid(40)
    table = table_of(tmp_path, x=x[:, 0], y=x[:, 1])
    waves, orders = basis(Circle(), x, 3)
    values, ranks = basis(table, table.grid(0), 6)
    assert ranks.tolist() == list(range(7))
    overlap = (waves.T @ values / 40) ** 2
    for pair in (1, 2, 3):
        same = overlap[orders == pair][:, 2 * pair - 1 : 2 * pair + 1]
        assert same.sum() == pytest.approx(2, abs=1e-3)


def test_table_basis_ignores_the_rounding_of_a_journal() -> None:
    table = Table(str(TONES))
    x = table.grid(0)
    rounded = np.asarray(x).round(4)
    np.testing.assert_array_equal(basis(table, rounded, 8)[0], basis(table, x, 8)[0])


def test_table_refuses_a_degree_beyond_its_smooth_functions(tmp_path: Path) -> None:
    table = table_of(tmp_path, position=[0, 1, 3])
    assert basis(table, table.grid(0), 2)[0].shape == (3, 3)
    with pytest.raises(ValueError, match=r"has 2 smooth functions .* degree is 3"):
        table.basis(table.grid(0), 3)


def test_table_refuses_to_present_what_it_has_not() -> None:
    table = Table(str(TONES))
    with pytest.raises(ValueError, match=r"no stimulus with z-scores \[0.123, 9.0\]"):
        table.present([0.123, 9.0])
    with pytest.raises(ValueError, match="no stimulus"):
        table.present([math.nan, 0.0])


def test_changed_file_is_another_table(tmp_path: Path) -> None:
    """Compiled code must not answer with the numbers of the old file."""
    old = table_of(tmp_path, a=[1, 2, 3])
    new = table_of(tmp_path, a=[1, 2, 30])
    assert old.path == new.path
    before, after = (np.sort(draw(table, KEY, 3), 0) for table in (old, new))
    assert not np.array_equal(before, after)


ROWS = "a,1\nb,2\nc,4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n , \n", "is empty"),
        (f"name,size\n{ROWS}", "one of them 'id', got the header 'name,size'"),
        ("id;size\na;1\nb;2\nc;3", "separated by commas.*got the header 'id;size'"),
        ("id\na\nb\nc", "expected a numeric feature"),
        ("id,size,size [mm]\na,1,2", "two columns are called 'size'"),
        ("id,id\na,b", "two columns are called 'id'"),
        ("id,\na,1", "expected 'name' or 'name \\[unit\\]', got ''"),
        ("id,[mm]\na,1", "header: .* got '\\[mm\\]'"),
        ("id,size\na,1\nb,2", "expected 3 stimuli or more, got 2"),
        (f"id,size\n{ROWS}\nd", "line 5: expected 2 cells as in the header, got 1"),
        (f"id,size\n{ROWS}\nd,5,6", "line 5: expected 2 cells .* got 3"),
        (f"id,size\n{ROWS}\n\na,5", "line 6: id 'a' is on line 2 too"),
        (f"id,size\n{ROWS}\n,5", "line 5, column 'id': expected a name"),
        (f"id,size\n{ROWS}\nd,red", "line 5, column 'size': .* number, got 'red'"),
        (f"id,size\n{ROWS}\nd,", "line 5, column 'size': expected a number, got ''"),
        (f"id,size\n{ROWS}\nd,nan", "line 5, column 'size': .* finite .* got 'nan'"),
        (f"id,size\n{ROWS}\nd,-inf", "line 5, column 'size': .* got '-inf'"),
        ("id,size\na,1\nb,1\nc,1", "column 'size': expected values that differ, got 1"),
        (f"id,size\n{ROWS}\nd,2", "stimuli 'b' and 'd' have the same features"),
        (f"id,size\n{ROWS}\nd,2.000001", "stimuli 'b' and 'd' have the same"),
        ("id,size,file\na,1,no.wav", "expected 3 stimuli"),
        (
            "id,size,file\na,1,no.wav\nb,2,no.wav\nc,3,no.wav",
            "line 2, column 'file': expected a file in .*, got 'no.wav'",
        ),
        ("id,size,file\na,1,\nb,2,\nc,3,", "line 2, column 'file': .* got ''"),
        (f'id,size\n{ROWS}\n"d,5', "cannot read .* unexpected end of data"),
    ],
)
def test_table_refuses(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as refusal:
        Table(path)
    assert path in str(refusal.value)


def test_table_refuses_what_is_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*no\.csv: .*No such file"):
        Table(str(tmp_path / "no.csv"))
    (tmp_path / "table.csv").write_bytes("id,gr\xf6sse\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"cannot read .*table\.csv: .*utf-8"):
        Table(str(tmp_path / "table.csv"))


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_table_refuses_a_width(width: float) -> None:
    with pytest.raises(ValueError, match=f"above 0 and finite, got {width}"):
        Table(str(TONES), width)


@pytest.mark.parametrize("width", [0.05, 0.3, 1.0, 3.0])
def test_table_basis_is_orthonormal_at_any_width(width: float) -> None:
    check_basis(Table(str(TONES), width))
