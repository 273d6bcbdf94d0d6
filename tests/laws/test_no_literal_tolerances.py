"""No tolerance is picked by hand: nothing compares with a small literal unless the number carries its derivation."""

import pytest
from bound_names import gathered
from places import ROOT
from tolerances import literal_tolerances, small_constants

FOLDERS = ("shared", "torch_impl", "jax_impl", "crosscheck", "experiments", "tests")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))), ROOT / "conftest.py"]
}
SMALL_CONSTANTS = gathered(item for source in SOURCES.values() for item in small_constants(source).items())


@pytest.mark.parametrize("path", SOURCES)
def test_there_is_no_literal_tolerance_in(path):
    assert literal_tolerances(SOURCES[path], elsewhere=SMALL_CONSTANTS) == []


CALLS = [
    "np.allclose(a, b)",
    "np.allclose(a, b, rtol=1e-3)",
    "np.isclose(a, b, atol=TOL).all()",
    "np.testing.assert_allclose(a, b, rtol=0, atol=0)",
    "np.testing.assert_allclose(a, b, rtol=64 * np.finfo(np.float32).eps)",
    "np.testing.assert_almost_equal(a, b, decimal=5)",
    "np.testing.assert_approx_equal(a, b)",
    "np.testing.assert_array_almost_equal_nulp(a, b)",
    "torch.testing.assert_close(a, b)",
    "torch.autograd.gradcheck(f, x)",
    "chex.assert_trees_all_close(a, b)",
    "assert a == pytest.approx(b)",
    "assert a == approx(b, rel=0.5)",
    "assert math.isclose(a, b, rel_tol=1e-9)",
    "self.assertAlmostEqual(a, b, places=7)",
    "from numpy.testing import assert_allclose as check",
    "check = functools.partial(np.allclose, equal_nan=True)",
    "assert agrees(a, b, tolerance=1e-5)",
    "TOL = 1e-5\nassert agrees(a, b, tol=TOL)",
]
COMPARISONS = [
    "assert abs(a - b) < 1e-5",
    "assert abs(a - b) <= 0.1",
    "assert 1e-5 > abs(a - b)",
    "assert 0 <= gap <= 1e-12",
    "assert -1e-5 < a - b",
    "assert gap < .001",
    "assert gap < 10**-6",
    "assert gap < 2**-20",
    "assert gap < 1 / 1000",
    "assert gap <= 3 * 1e-6",
    "assert err <= 5e-3 * scale",
    "assert err / scale <= 5e-3",
    "assert err / 5e-3 <= scale",
    "assert value < expected + 1e-3",
    "assert cosine > 1 - 1e-6 * n",
    "assert gap > 1e-3",
    "assert gap < max(1e-8, 1e-5 * scale)",
    "assert gap < np.float32(1e-5)",
    "assert gap < (1e-12 if double else 1e-5)",
    "assert gap < {'float32': 1e-5, 'float64': 1e-12}[dtype]",
    "assert (gap < 1e-5).all()",
    "if norm < 1e-8:\n    norm = 1",
    "while error > 1e-6:\n    step()",
    "assert np.less(gap, 1e-5).all()",
    "assert gap.lt(1e-5).all()",
    "np.testing.assert_array_less(gap, 1e-5)",
    "self.assertLess(gap, 1e-5)",
]
NAMES = [
    "TOL = 1e-4\nif gap <= TOL:\n    pass",
    "TOL: float = 1e-4\nassert gap <= TOL",
    "STEPS, TOL = 5, 1e-4\nassert gap <= TOL",
    "TOL = 1e-4\nBOUND = 10 * TOL\nassert gap <= BOUND",
    "TOL = 1e-4\ndef test():\n    assert gap <= 2 * TOL",
    "TOLS = {'float32': 1e-5, 'float64': 1e-12}\nassert gap <= TOLS[dtype]",
    "def test():\n    tol = 1e-4\n    assert gap <= tol",
    "def test():\n    tol = 1e-4 * scale\n    assert gap <= tol",
    "def test():\n    tol = 1e-4\n    tol *= scale\n    assert gap <= tol",
    "def test():\n    tol = tol * 1e-4\n    assert gap <= tol",
    "def close(a, b, tol=1e-4):\n    return abs(a - b) <= tol",
    "def close(a, b, *, tol=1e-4):\n    return abs(a - b) <= tol",
    "for tol in (1e-5, 1e-3):\n    assert gap <= tol",
    "assert any(gap <= tol for tol in [1e-5, 1e-3])",
    "@pytest.mark.parametrize('tol', [1e-5, pytest.param(1e-3)])\ndef test(tol):\n    assert gap <= tol",
    "@pytest.mark.parametrize('dtype, tol', [('f4', 1e-5)])\ndef test(dtype, tol):\n    assert gap <= tol",
    "@pytest.mark.parametrize(('dtype', 'tol'), [('f4', 1e-5)])\ndef test(dtype, tol):\n    assert gap <= tol",
    "TOLS = (1e-5, 1e-3)\n@pytest.mark.parametrize('tol', TOLS)\ndef test(tol):\n    assert gap <= tol",
    "class Test:\n    TOL = 1e-4\n    def test(self):\n        assert gap <= self.TOL",
    "def setup(self):\n    self.tol = 1e-4\ndef test(self):\n    assert gap <= self.tol",
]
BAD_MARKS = [
    "TOL = 1e-4  # derived:\nassert gap <= TOL",
    "TOL = 1e-4  # seems to work\nassert gap <= TOL",
    "TOL = 1e-4; text = '# derived: from nothing'\nassert gap <= TOL",
    "# derived: of the line above a gap\n\nTOL = 1e-4\nassert gap <= TOL",
    "OTHER = 1e-5  # derived: roundoff\nTOL = 1e-4\nassert gap <= TOL",
    "PROOF = 1e-12  # derived: roundoff\nPROOF = 1e-3\nassert gap <= PROOF",
    "PROOF = 1e-12  # derived: roundoff\ndef test():\n    PROOF = 1e-3\n    assert gap <= PROOF",
    "PROOF = 1e-12  # derived: roundoff\nassert gap <= 0.1 * scale + PROOF",
    "def test():\n    tol = 1e-4  # derived: in a function nobody looks\n    assert gap <= tol",
    "assert gap <= 1e-4  # derived: only a constant has a name",
]


@pytest.mark.parametrize("source", CALLS + COMPARISONS + NAMES + BAD_MARKS)
def test_the_checker_reports(source):
    found = literal_tolerances(source)
    assert found
    assert all(sentence.startswith("line ") for sentence in found)


@pytest.mark.parametrize(
    "source",
    [
        "assert a == b",
        "np.testing.assert_array_equal(a, b)",
        "assert torch.equal(a, b)",
        "assert prove(a, b, floor).agrees",
        "assert gap <= 4 * np.finfo(np.float32).eps * n",
        "assert gap <= 8 * unit_roundoff(dtype) * np.sqrt(n) * scale",
        "assert abs(draws.mean() - 0.05) <= 5 * draws.std() / np.sqrt(n)",
        "assert losses[-1] < 0.5 * losses[0]",
        "assert accuracy > 0.9",
        "assert gap > 0",
        "assert gap < 1",
        "assert learning_rate == 1e-3",
        "assert schedule(0) == 0.1 * peak",
        "if not 0 < learning_rate < 1:\n    raise ValueError",
        "RATE = 0.01\nassert 0 < RATE < 1",
        "RATE = 0.01\ntrain(rate=RATE)\nassert losses[-1] < losses[0]",
        "RATE = 0.01\ndef check(rate):\n    assert 0 < rate <= limit",
        "RATE = 0.01\ndef check(RATE):\n    assert RATE <= limit",
        "def __init__(self, eps=1e-5):\n    self.norm = LayerNorm(eps=eps)",
        "dropped = generator.random(7) < 0.1",
        "if np.random.rand() < 0.05:\n    flip()",
        "assert model(dropout=0.1) < other(rate=1e-3)",
        "@pytest.mark.parametrize('rate', [0.1, 0.5])\ndef test(rate):\n    assert kept < 1 - rate",
        "file.close()",
        "assert x << 3 and not y",
        "assert text < 'a' % 3",
        "assert gap < 1 / 0",
        "gap = gap\nassert gap < other",
        "# assert abs(a - b) < 1e-5",
        "'assert abs(a - b) < 1e-5'",
        "PROOF = 1e-12  # derived: 10**4 roundings of 1.1e-16\nassert gap <= PROOF * scale",
        "# derived: 10**4 roundings of 1.1e-16\nPROOF = 1e-12\nassert gap <= PROOF",
        "# derived: 10**4 roundings\n# of 1.1e-16\nPROOF: float = 1e-12\ndef test():\n    assert gap <= 2 * PROOF",
        "PROOF = (\n    1e-12  # derived: 10**4 roundings of 1.1e-16\n)\nassert gap <= PROOF",
        "BOUNDS = {  # derived: 10**4 roundings of each\n    'f8': 1e-12,\n}\nassert gap <= BOUNDS[dtype]",
        "from crosscheck.criterion import PROOF\nassert gap <= PROOF",
    ],
)
def test_the_checker_accepts(source):
    assert literal_tolerances(source) == []


@pytest.mark.parametrize(
    "use",
    [
        "from other import TOL\nassert gap <= TOL",
        "from .other import TOL as bound\nassert gap <= bound",
        "import other\nassert gap <= 3 * other.TOL",
    ],
)
def test_a_constant_of_another_file_is_followed_there(use):
    assert literal_tolerances(use, elsewhere=small_constants("TOL = 1e-4")) != []
    assert literal_tolerances(use, elsewhere=small_constants("TOL = 1e-4  # derived: roundoff")) == []


def test_a_sentence_names_line_and_number():
    assert literal_tolerances("TOL = 1e-4\n\nassert gap <= 2 * TOL") == ["line 3: compares with the literal 0.0001"]
    assert literal_tolerances("np.allclose(a, b)") == ["line 1: allclose has a tolerance of its own"]
