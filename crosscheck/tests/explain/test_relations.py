"""What one tensor is of another, in exactly these words; nothing is said where nothing simple holds."""

import ml_dtypes
import numpy as np
import pytest

from crosscheck.causes.operations.relation import relation


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def changed(array, *places):
    """The array with other numbers at these indices."""
    other = np.array(array)
    for place in places:
        other[place] = 9.5 + np.arange(other[place].size).reshape(other[place].shape) ** 2
    return other


ROWS, FOUR = drawn(4, 6), drawn(4, 4)
STACK, LINE, PAIR = drawn(2, 4, 3), drawn(6), drawn(2, 6)
TIED = np.array([0.0, 1, 1, 2])
COLUMN = np.array([[0.0], [-2], [1], [-1], [2], [3]])
HOLES = changed(ROWS, (0, 0))
HOLES[0, 0] = np.nan
FILLED = np.where(np.arange(6) == 5, np.finfo(np.float64).min, ROWS)
EMPTY_ROW = ROWS * [[0], [1], [1], [1]]

ONE_NUMBER = [
    (1e6 * ROWS, 2.5e6 * ROWS, "JAX's is torch's times 2.5"),
    (np.array([100, 50], np.uint8), np.array([200, 100], np.uint8), "JAX's is torch's times 2"),
    (np.array([2.0]), np.array([6.0]), "JAX's is torch's times 3"),
    (np.array([3.0]), np.array([0.75]), "JAX's is torch's times 0.25"),
    (np.array([3.0]), np.array([-1.5]), "JAX's is torch's times -0.5"),
    (np.array([2.0]), np.array([-6.0]), "JAX's is torch's times -3"),
    (np.zeros(3), np.full(3, 3.0), "JAX's is torch's plus 3"),
    (np.abs(ROWS), np.abs(ROWS) ** 3, "JAX's is torch's to the power 3"),
    (np.array([4.0, 16, 64]), np.array([2.0, 4, 8], np.float16), "JAX's is torch's to the power 0.5"),
]
ROUNDED = [
    (ROWS, ROWS.astype(np.float16), "JAX's is torch's rounded to float16"),
    (ROWS, ROWS.astype(ml_dtypes.bfloat16).astype(np.float64), "JAX's is torch's rounded to bfloat16"),
    (ROWS.astype(np.float32), ROWS, "torch's is JAX's rounded to float32"),
]
IN_ORDER = [
    (PAIR, PAIR[::-1], "JAX's is torch's reversed along axis 0"),
    (ROWS, np.roll(ROWS, -1, 1), "JAX's is torch's rolled by -1 along axis 1"),
    (LINE, [0, *LINE[:-1]], "JAX's is torch's moved by +1 along axis 0, with zeros behind"),
    (STACK, np.pad(STACK[:, 1:], ((0, 0), (0, 1), (0, 0))),
     "JAX's is torch's moved by -1 along axis 1, with zeros behind"),
    (LINE, LINE.reshape(2, 3).T.ravel(), "JAX's is torch's with axis 0 read as (3, 2), not (2, 3)"),
    (LINE, LINE.reshape(3, 2).T.ravel(), "JAX's is torch's with axis 0 read as (2, 3), not (3, 2)"),
    (ROWS, ROWS.reshape(4, 3, 2).swapaxes(1, 2).reshape(4, 6),
     "JAX's is torch's with axis 1 read as (2, 3), not (3, 2)"),
    (FOUR, FOUR.T, "JAX's is torch's with axes 0 and 1 exchanged"),
    (FOUR[:2, :2], FOUR[:2, :2].T, "JAX's is torch's with axes 0 and 1 exchanged"),
    (STACK[:, :3], STACK[:, :3].swapaxes(1, 2), "JAX's is torch's with axes 1 and 2 exchanged"),
    (PAIR, PAIR[[0, 0]], "JAX's is torch's with axis 0 in the order [0, 0]"),
    (STACK, STACK[:, [2, 0, 3, 1]], "JAX's is torch's with axis 1 in the order [2, 0, 3, 1]"),
    (LINE * 1e6, np.sort(LINE * 1e6), f"JAX's is torch's with axis 0 in the order {np.argsort(LINE).tolist()}"),
]  # fmt: skip
ALONG_AN_AXIS = [
    (PAIR, PAIR * [[2], [3]], "JAX's is torch's times a factor of each place of axis 0: 2, 3"),
    (ROWS, ROWS * [[2], [3], [4], [5]], "JAX's is torch's times a factor of each place of axis 0: 2, 3, 4, 5"),
    (ROWS[:, :5], ROWS[:, :5] + [2, 3, 4, 5, 6], "JAX's is torch's plus a number of each place of axis 1: "
     "2, 3, 4, 5, ..."),
    (EMPTY_ROW, EMPTY_ROW * [[9], [2], [3], [4]], "JAX's is torch's times a factor of each place of axis 0: "
     "0, 2, 3, 4"),
]  # fmt: skip
REGIONS = [
    (STACK, np.tril(STACK), "they differ above the diagonal of the last two axes alone"),
    (FOUR[None], np.tril(FOUR)[None], "they differ above the diagonal of the last two axes alone"),
    (ROWS[:3, :2], np.triu(ROWS[:3, :2]), "they differ below the diagonal of the last two axes alone"),
    (FOUR, FOUR * ~np.eye(4, dtype=bool), "they differ on the diagonal of the last two axes alone"),
    (np.arange(4.0), changed(np.arange(4.0), np.s_[:2]), "they differ where torch's is below 2, alone"),
    (np.arange(4.0), changed(np.arange(4.0), np.s_[2:]), "they differ where torch's is above 1, alone"),
]
PLACES = [
    (np.arange(4.0), changed(np.arange(4.0), np.s_[:1]), "they differ at place 0 of axis 0 alone"),
    (TIED, changed(TIED, np.s_[:2]), "they differ at places 0 to 1 of axis 0 alone"),
    (TIED, changed(TIED, np.s_[2:]), "they differ at places 2 to 3 of axis 0 alone"),
    (COLUMN, changed(COLUMN, np.s_[1:]), "they differ at places 1 to 5 of axis 0 alone"),
    (ROWS * 1e-6, changed(ROWS, np.s_[:, 5:]) * 1e-6, "they differ at the last place of axis 1 alone"),
    (ROWS, changed(ROWS, np.s_[:, 2:5]), "they differ at places 2 to 4 of axis 1 alone"),
    (ROWS, changed(ROWS, np.s_[:, 1::2]), "they differ at each place 1 + 2n of axis 1 alone"),
    (ROWS, changed(ROWS, np.s_[:, [0, 1, 3]]), "they differ at 3 of 6 places of axis 1 alone"),
    (ROWS, changed(ROWS, np.s_[1:2, 2:3]), "they differ at place 1 of axis 0, place 2 of axis 1 alone"),
    (FOUR, changed(FOUR, ([0, 1, 2, 3], [1, 2, 3, 0])), "they differ in 25% of the places"),
    (HOLES, changed(HOLES, np.s_[:, 5:]), "they differ at the last place of axis 1 alone"),
    (ROWS, HOLES, "they differ at place 0 of axis 0, place 0 of axis 1 alone"),
    (HOLES, ROWS, "they differ at place 0 of axis 0, place 0 of axis 1 alone"),
    (FILLED, changed(FILLED, np.s_[:, 4:]), "they differ at places 4 to 5 of axis 1 alone"),
]  # fmt: skip
NOTHING = [
    (ROWS, ROWS.T),
    (np.zeros((0, 3)), np.zeros((0, 3))),
    (ROWS.astype(np.complex128), 2 * ROWS.astype(np.complex128)),
    (np.array([2.0]), np.array([5.0])),
    (np.array([5.0]), np.array([2.0])),
    (ROWS * 1e-6, drawn(4, 6, seed=9) * 1e-6),
    (LINE, drawn(6, seed=9)),
    (LINE[:, None], drawn(6, 1, seed=9)),
    (np.ones(6), np.abs(LINE)),
    (np.full(6, 1e300), np.abs(LINE)),
    (FILLED, FILLED),
    (HOLES, HOLES),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "words"), [*ONE_NUMBER, *ROUNDED, *IN_ORDER, *ALONG_AN_AXIS, *REGIONS, *PLACES]
)
def test_what_a_tensor_is_of_another_is_said_in_these_words(ours, theirs, words):
    assert relation(ours, np.asarray(theirs)) == words


@pytest.mark.parametrize(("ours", "theirs"), NOTHING)
def test_nothing_is_said_where_nothing_simple_holds(ours, theirs):
    assert relation(ours, theirs) == ""
