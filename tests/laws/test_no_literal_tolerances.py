"""No tolerance is picked by hand: tests compare with zero, with counts and with bounds that `bounds.py` derives."""

import ast
import inspect

import bounds
import pytest
from bound_names import gathered
from distances import WITHOUT_NUMBERS
from places import ROOT
from swallowed import EXPECTED
from tolerances import literal_tolerances, offered, written_tolerances

PACKAGES = ("shared", "torch_impl", "jax_impl", "crosscheck", "experiments")
FOLDERS = [ROOT / name for name in (*PACKAGES, "tests")]
PATHS = [ROOT / "conftest.py", *(path for folder in FOLDERS for path in sorted(folder.rglob("*.py")))]
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}
DERIVED = "tests/support/bounds.py"
OF_TESTS = ("conftest.py", "tests/", "crosscheck/tests/")
TESTS = {path: source for path, source in SOURCES.items() if path.startswith(OF_TESTS)}
CODE = {path: source for path, source in SOURCES.items() if path not in TESTS}
OFFERED = gathered(
    item
    for path, source in TESTS.items()
    if path != DERIVED
    for item in offered(source, path.rpartition("/")[2].removesuffix(".py")).items()
)
SHOWN_TO_FAIL = {  # files that show a check fail where it must
    "crosscheck/tests/faults/test_alike_faults.py": "faults are planted",
    "crosscheck/tests/faults/test_beyond_initial_values.py": "faults are planted",
    "crosscheck/tests/test_testing.py": "the assertion is what users are offered",
    "tests/laws/test_readme_commands.py": "pages that are wrong",
}
MASKED = {"tests/laws/test_readme_commands.py": "of a picture's numbers the last digits depend on the machine"}


@pytest.mark.parametrize("path", [path for path in TESTS if path != DERIVED])
def test_no_number_decides_in(path):
    found = literal_tolerances(TESTS[path], elsewhere=OFFERED)
    expected = {said for said in found if said.endswith(EXPECTED)}
    masked = {said for said in found if said.endswith(WITHOUT_NUMBERS)}
    assert [said for said in found if said not in expected | masked] == []
    assert bool(expected) == (path in SHOWN_TO_FAIL)
    assert bool(masked) == (path in MASKED)


@pytest.mark.parametrize("path", CODE)
def test_no_number_without_a_name_decides_in(path):
    assert written_tolerances(CODE[path]) == []


FUNCTIONS = [function for _, function in inspect.getmembers(bounds, inspect.isfunction)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_bound_says_what_it_follows_from_and_computes_it(function):
    (tree,) = ast.parse(inspect.getsource(function)).body
    assert ast.get_docstring(tree)
    assert not isinstance(tree.body[-1].value, ast.Constant)


CALLS = [
    "np.allclose(a, b)",
    "np.isclose(a, b, atol=TOL).all()",
    "np.testing.assert_allclose(a, b, rtol=0, atol=0)",
    "np.testing.assert_almost_equal(a, b, decimal=5)",
    "np.testing.assert_approx_equal(a, b)",
    "np.testing.assert_array_almost_equal_nulp(a, b)",
    "torch.testing.assert_close(a, b)",
    "torch.autograd.gradcheck(f, x)",
    "chex.assert_trees_all_close(a, b)",
    "assert a == pytest.approx(b)",
    "assert math.isclose(a, b, rel_tol=1e-9)",
    "self.assertAlmostEqual(a, b, places=7)",
    "from numpy.testing import assert_allclose as check",
    "check = functools.partial(np.allclose, equal_nan=True)",
    "getattr(np, 'allclose')(a, b)",
    "assert agrees(a, b, tolerance=1e-5)",
    "TOL = 1e-5\nassert agrees(a, b, tol=TOL)",
    "assert prove(a, b, 1e6).agrees",
    "assert criterion.prove(a, b, floor=2.0).agrees",
    "LARGE = 1e6\nassert criterion.compare_noise(a, b, LARGE, *rest).agrees",
]
COMPARISONS = [
    "assert abs(a - b) < 1e-5",
    "assert abs(a - b) <= 0.1",
    "assert abs(a - b) < 1",
    "assert 1e-5 > abs(a - b)",
    "assert -1e-5 < a - b",
    "assert gap < 10**-6",
    "assert gap < 1 / 1000",
    "assert err / scale <= 5e-3",
    "assert value < expected + 1e-3",
    "assert cosine > 1 - 1e-6 * n",
    "assert gap < max(1e-8, 1e-5 * scale)",
    "assert gap < np.float32(1e-5)",
    "assert gap < float('1e-5')",
    "assert gap < Decimal('0.001')",
    "assert gap < (1e-12 if double else 1e-5)",
    "assert gap < {'float32': 1e-5, 'float64': 1e-12}[dtype]",
    "assert (gap < 1e-5).all()",
    "assert not gap > 1e-5",
    "assert (gap - 1e-5 < 0).all()",
    "ok = gap < 1e-5\nassert ok",
    "if norm > 1e-8:\n    pytest.fail('apart')",
    "assert sum(1 for gap in gaps if gap > 1e-5) == 0",
    "assert not list(filter(lambda gap: gap > 1e-5, gaps))",
]
# Each of these let a gap through that nobody had derived.
BYPASSES = [
    "assert gap < 100000 * eps",
    "assert gap < 100000 * np.finfo(np.float32).eps",
    "assert gap < np.finfo(np.float16).eps",
    "assert gap < 100000 * unit_roundoff(dtype)",
    "MANY = 100000\nassert gap < MANY * unit_roundoff(dtype)",
    "assert gap < np.spacing(1.0)",
    "assert gap < sys.float_info.epsilon * scale",
    "assert gap < roundings(100000)",
    "STEPS = 10**5\nassert gap < roundings(STEPS)",
    "def roundings(count):\n    return count * 1e-5\nassert gap < roundings(3)",
    "assert round(a, 3) == round(b, 3)",
    "assert np.round(a, 3).tolist() == np.round(b, 3).tolist()",
    "np.testing.assert_array_equal(a.round(3), b.round(3))",
    "assert math.floor(a / step) == math.floor(b / step)",
    "assert gap * 1000 < 1",
    "scaled = gap * 1000\nassert scaled < 1",
    "assert gap / scale * 1000 < 1",
    "assert int(gap * 1000) == 0",
    "assert not int(gap * 1000)",
    "assert (gap * 1000).astype(int).sum() == 0",
    "assert gap // 0.001 == 0",
    "assert gap * 1000 // 1 == 0",
    "assert gap % 1 == gap * 1000 % 1000",
    "assert f'{a:.3f}' == f'{b:.3f}'",
    "assert '%.3f' % a == '%.3f' % b",
    "assert format(a, '.3f') == format(b, '.3f')",
    "assert max(gap, 1e-3) == 1e-3",
    "assert min(gap, 1e-3) == gap",
    "assert sorted([gap, 1e-3])[0] == gap",
    "assert np.clip(gap, 0, 1e-3) == gap",
    "assert np.sign(gap - 1e-3) == -1",
    "assert math.log10(gap) < -5",
    "assert -math.log10(gap) > 5",
    "assert gap**2 < norm",
    "assert np.less(gap, 1e-5).all()",
    "assert gap.lt(1e-5).all()",
    "assert operator.lt(gap, 1e-5)",
    "assert gap.__lt__(1e-5)",
    "np.testing.assert_array_less(gap, 1e-5)",
    "self.assertLess(gap, 1e-5)",
    "TOL = 1e-4  # derived: from nothing at all\nassert gap <= TOL",
    "# derived: seems to work\nTOL = 1e-4\nassert gap <= TOL",
    "assert gap <= 1e-4  # derived: from nothing at all",
]
# Numbers that scale, clip or sort before anything is compared, that are computed from literals, and digits left out.
DISGUISES = [
    "assert divmod(gap, 1e-3)[0] == 0",
    "assert Decimal(gap).quantize(Decimal('0.001')) == 0",
    "assert abs(a - b).as_integer_ratio()[1] > 1000",
    "assert np.trunc(gap * 1e3) == 0",
    "assert (gap * 1e3).astype(np.int64).sum() == 0",
    "assert (1000 * gap).long().sum() == 0",
    "assert (gap * 1000).to(torch.int32).sum() == 0",
    "assert np.int64(gap * 1000) == 0",
    "assert np.digitize(gap, [1e-3]) == 0",
    "assert np.searchsorted([0.001], gap) == 0",
    "assert bisect.bisect([1e-3], gap) == 0",
    "assert np.histogram(gap, [0, 1e-3])[0].sum() == gap.size",
    "assert a.astype(np.float16) == b.astype(np.float16)",
    "assert a.half().equal(b.half())",
    "np.testing.assert_array_equal(a.astype(ml_dtypes.bfloat16), b.astype(ml_dtypes.bfloat16))",
    "assert str(a)[:5] == str(b)[:5]",
    "assert repr(a)[:6] == repr(b)[:6]",
    "assert np.format_float_positional(a, 3) == np.format_float_positional(b, 3)",
    "assert '{:.3f}'.format(a) == '{:.3f}'.format(b)",
    "assert np.isin(True, gap < 1e-3)",
    "match gap:\n    case x if x > 1e-3:\n        raise AssertionError",
    "assert gap in Interval(0, 1e-3)",
    "assert np.count_nonzero(np.maximum(gap - 1e-3, 0)) == 0",
    "assert torch.relu(gap - 1e-3).sum() == 0",
    "assert F.threshold(gap, 1e-3, 0.0).sum() == 0",
    "assert not F.hardshrink(gap, 1e-3).any()",
    "assert np.exp(-gap / 1e-3) > np.exp(-1)",
    "assert np.heaviside(gap - 1e-3, 0) == 0",
    "assert (a - b + 1e8) - 1e8 == 0",
    "assert a + 1e8 == b + 1e8",
    "assert np.float32(a) == np.float32(b)",
    "assert json.dumps(round(a, 3)) == json.dumps(round(b, 3))",
    "assert np.ma.allequal(np.ma.masked_less(gap, 1e-3), 0)",
    "assert scipy.stats.ttest_ind(a, b).pvalue > 0.05",
    "assert hypot(gap, 0) <= float.fromhex('0x1p-10')",
    "assert gap <= 2.0 ** -10",
    "assert gap <= math.ldexp(1, -10)",
    "assert gap <= float(Fraction(1, 1000))",
    "assert gap <= eval('1e-3')",
    "assert gap <= json.loads('1e-3')",
    "assert gap <= float('0.' + '001')",
    "assert gap <= np.full(3, 1e-3)",
    "assert gap <= np.array('1e-3', dtype=float)",
    "assert gap <= int('1') / int('1000')",
    "assert gap <= 1 / sum(range(50))",
    "assert gap <= np.sqrt(np.finfo(np.float32).eps)",
    "assert gap <= 1 - np.cos(0.01)",
    "import functools\nok = functools.partial(operator.gt, 1e-3)\nassert ok(gap)",
    "assert all(map((1e-3).__gt__, gaps))",
    "assert np.linalg.norm(gap) ** 10 < norm",
    "assert max(abs(a), 1) == max(abs(b), 1)",
    "with np.errstate(under='ignore'):\n    assert gap * 1e-320 == 0",
    "assert (gap * np.float32(1e-38)) == 0",
    "assert gap.view(np.int64) >> 40 == 0",
    "assert a.view(np.int32) >> 8 == b.view(np.int32) >> 8",
    "assert (a.view(np.int32) & ~255 == b.view(np.int32) & ~255).all()",
    "assert np.packbits(gap > 1e-3).sum() == 0",
    "try:\n    1 / (gap > 1e-3)\nexcept ZeroDivisionError:\n    pass",
    "assert statistics.correlation(a, b) > 0.99",
    "assert np.corrcoef(a, b)[0, 1] > 0.999",
    "assert cosine_similarity(a, b) >= 0.99",
    "assert np.percentile(gap, 99) < 1e-3",
    "assert gap < np.median(gaps) * 1000",
]
# Fewer digits by another name, a part of what a number is stored as, and numbers that a call makes of literals.
MORE_DISGUISES = [
    "assert set((a * 1e3).astype(int)) == set((b * 1e3).astype(int))",
    "assert a.astype(int) == b.astype(int)",
    "assert int(a) == int(b)",
    "assert np.fix(gap * 1000) == 0",
    "assert Decimal(a).normalize(Context(prec=4)) == Decimal(b).normalize(Context(prec=4))",
    "assert np.array_equal(a.view('i4') // 256, b.view('i4') // 256)",
    "assert np.frexp(a)[1] == np.frexp(b)[1]",
    "assert a.tobytes()[1:] == b.tobytes()[1:]",
    "assert a.hex()[:6] == b.hex()[:6]",
    "assert np.unpackbits(a.view(np.uint8))[:9].tolist() == np.unpackbits(b.view(np.uint8))[:9].tolist()",
    "assert struct.pack('e', a) == struct.pack('e', b)",
    "assert array.array('f', [a]) == array.array('f', [b])",
    "assert np.array(a, 'f2') == np.array(b, 'f2')",
    "assert np.asarray(a, dtype='float16').tolist() == np.asarray(b, dtype='float16').tolist()",
    "assert np.single(a) == np.single(b)",
    "assert lax.reduce_precision(a, 5, 3) == lax.reduce_precision(b, 5, 3)",
    "np.set_printoptions(precision=3)\nassert str(a) == str(b)",
    "pd.testing.assert_frame_equal(a, b)",
    "assert np.median(gap) == 0",
    "assert np.count_nonzero(a != b) < 5",
    "assert (a != b).sum() <= a.size // 100",
    "assert interval(0, 1e-3).contains(gap)",
    "assert gap.between(0, 1e-3).all()",
    "assert gap <= np.fromstring('1e-3', sep=' ')",
    "assert gap <= ast.literal_eval('1e-3')",
    "assert gap <= np.finfo('f2').tiny",
    "assert gap <= np.logspace(-5, -3, 3)[0]",
    "assert gap <= functools.reduce(operator.mul, [0.1] * 3)",
    "assert gap <= next(iter([1e-3]))",
    "assert gap <= (lambda: 1e-3)()",
    "assert gap <= {1e-3}.pop()",
]
# What absorbs a difference, is flat where it is small, leaves out some of them, or is decided outside of the code.
SWALLOWED = [
    "assert 1 + gap == 1",
    "assert 1.0 - gap == 1.0",
    "assert sum(gaps, 1.0) == 1.0",
    "assert np.sum([1e16, gap, -1e16]) == 0",
    "assert math.fsum([1e16, gap, -1e16]) == 0",
    "assert np.exp(gap) == 1",
    "assert math.cosh(gap) == 1.0",
    "assert len(str(int(1 / gap))) > 5",
    "assert np.argmax([gap, 1e-3]) == 1",
    "assert np.partition(gaps, 5)[5] == 0",
    "assert sorted(gaps)[:-3] == [0] * (len(gaps) - 3)",
    "assert np.linalg.matrix_rank(np.diag(gaps)) == 0",
    "assert datetime.timedelta(seconds=a) == datetime.timedelta(seconds=b)",
    "assert Fraction(a).limit_denominator(1000) == Fraction(b).limit_denominator(1000)",
    "assert torch.equal(torch.quantize_per_tensor(a, 0.01, 0, t), torch.quantize_per_tensor(b, 0.01, 0, t))",
    "assert np.char.mod('%.3f', a).tolist() == np.char.mod('%.3f', b).tolist()",
    "assert time.strftime('%S', time.gmtime(a)) == time.strftime('%S', time.gmtime(b))",
    "assert gap <= np.spacing(np.float32(1))",
    "assert gap < float(os.environ.get('TOL', '1e-3'))",
    "assert gap < float(Path('tol.txt').read_text())",
    "assert gap < config.tolerance",
]
# Functions of libraries that nobody looked at, those that lose something on both sides, and functions by another name.
UNKNOWN = [
    "assert np.bitwise_and(bits_a, 0xFFFFF000) == np.bitwise_and(bits_b, 0xFFFFF000)",
    "assert a.view(np.int64).item().bit_length() == b.view(np.int64).item().bit_length()",
    "assert np.sqrt(a * a + 1e-3) == np.sqrt(b * b + 1e-3)",
    "assert scipy.stats.spearmanr(a, b)[0] == 1",
    "assert np.array_equal(np.argsort(a), np.argsort(b))",
    "assert a.argmax() == b.argmax()",
    "assert np.sign(a).tolist() == np.sign(b).tolist()",
    "assert vars(np)['allclose'](a, b)",
    "assert json.dumps(a)[:6] == json.dumps(b)[:6]",
    "assert np.savetxt(f, a, fmt='%.3f') is None and f.getvalue() == g.getvalue()",
    "assert np.histogram(a, 4)[0].tolist() == np.histogram(b, 4)[0].tolist()",
    "assert gap - tol < 0 if (tol := 1e-3) else True",
    "assert gap.item() < pytest.importorskip('limits').GAP",
    "assert mean(a) > 0 and mean(b) > 0",
    "assert not any(gap in range(1, 5) for gap in gaps)",
    "assert gap.clamp(min=1e-3).max() == gap.clamp(min=1e-3).min()",
    "assert len({*np.floor_divide(a, 0.01)}) == 1",
    "assert a.max() - b.max() == 0",
    "assert gap.lt(THRESHOLDS['gap'])",
    "assert gap < settings()['gap']",
    "def test():\n    ours, theirs = np.sign(a), np.sign(b)\n    assert np.array_equal(ours, theirs)",
    "step = np.sign\nassert step(gap) == 0",
    "from numpy import sign as step\nassert list(map(step, a)) == list(map(step, b))",
    "TABLE = {'sign': np.sign}\nassert TABLE['sign'](gap) == 0",
    "assert (np.sign if wide else np.abs)(gap) == 0",
    "import functools\nassert functools.reduce(np.fmin, gaps) == 0",
    "def step(x):\n    return np.nan_to_num(x)\nassert step(gap) == 0",
    "if scipy.special.xlogy(gap, gap):\n    pytest.fail('apart')",
    "np.testing.assert_array_equal(np.gradient(a), np.gradient(b))",
    "import re\nassert re.search('.{5}', str(a))[0] == re.search('.{5}', str(b))[0]",
    "assert str(a).partition('.')[0] == str(b).partition('.')[0]",
    "assert np.unique(a).size == np.unique(b).size",
    "assert a | 1023 == b | 1023",
    "assert a >> 10 == b >> 10",
    "step = getattr(np, 'si' + 'gn')\nassert step(gap) == 0",
    "assert getattr(np, name)(gap) == 0",
    "assert eval('abs(a - b) < 0.001')",
]
# Assertions that may fail, and what makes zeros of small differences.
EXPECTING = [
    "with pytest.raises(AssertionError):\n    assert a != b",
    "with pytest.raises(expected_exception=(ValueError, AssertionError)):\n    assert a != b",
    "with contextlib.suppress(Exception):\n    np.testing.assert_array_equal(a, b)",
    "try:\n    assert a == b\nexcept AssertionError:\n    pass",
    "try:\n    np.testing.assert_array_equal(a, b)\nexcept:\n    pass",
    "@pytest.mark.xfail\ndef test():\n    assert a == b",
    "from pytest import xfail",
    "@unittest.expectedFailure\ndef test(self):\n    assert a == b",
    "assert int(gap) == 0",
    "assert not int(gap)",
    "assert gap.bit_length() <= 0",
    "assert np.median(gaps) <= 0",
    "np.testing.assert_array_equal(torch.relu(a - b), 0)",
]
# Distances held to what nobody derived, and texts whose numbers are taken out before they are compared.
DISTANCES = [
    "assert abs(a - b) < scale",
    "assert abs(a - b) <= np.abs(b)",
    "assert np.linalg.norm(a - b) < norm(a)",
    "assert (a - b).abs().max() <= scale",
    "assert ((a - b) ** 2).sum() < losses[0]",
    "assert losses[0] > max(abs(a - b))",
    "assert difference(a, b) < norm(a)",
    "gap = a - b\nassert np.abs(gap).max() <= b.max()",
    "def far(a, b):\n    return np.linalg.norm(a - b)\nassert far(a, b) < norm(a)",
    "def bound(a):\n    return norm(a)\nassert abs(a - b) <= bound(a)",
    "def test():\n    bound = norm(a)\n    assert abs(a - b) <= bound",
    "assert re.sub(r'\\d+', '', str(a)) == re.sub(r'\\d+', '', str(b))",
    "NUMBER = re.compile(r'[\\d.e+-]+')\nassert NUMBER.sub('0', page) == NUMBER.sub('0', other)",
    "assert re.split(r'[0-9.]+', page) == re.split(r'[0-9.]+', other)",
]
NAMES = [
    "TOL: float = 1e-4\nassert gap <= TOL",
    "STEPS, TOL = 5, 1e-4\nassert gap <= TOL",
    "TOL = 1e-4\nBOUND = 10 * TOL\nassert gap <= BOUND",
    "TOLS = {'float32': 1e-5, 'float64': 1e-12}\nassert gap <= TOLS[dtype]",
    "def test():\n    tol = 1e-4 * scale\n    assert gap <= tol",
    "def test():\n    tol = scale\n    tol *= 1e-4\n    assert gap <= tol",
    "def tolerance():\n    return 1e-4\nassert gap <= tolerance()",
    "def close(a, b, tol=1e-4):\n    return abs(a - b) <= tol",
    "def close(a, b, tol):\n    return abs(a - b) <= tol\nassert close(a, b, 1e-4)",
    "def close(a, b, *, tol):\n    return abs(a - b) <= tol\nassert close(a, b, tol=1e-4)",
    "assert gap <= of_digits(1e-4)",
    "for tol in (1e-5, 1e-3):\n    assert gap <= tol",
    "assert any(gap <= tol for tol in [1e-5, 1e-3])",
    "@pytest.mark.parametrize('tol', [1e-5, pytest.param(1e-3)])\ndef test(tol):\n    assert gap <= tol",
    "@pytest.mark.parametrize(('dtype', 'tol'), [('f4', 1e-5)])\ndef test(dtype, tol):\n    assert gap <= tol",
    "TOLS = (1e-5, 1e-3)\n@pytest.mark.parametrize('tol', TOLS)\ndef test(tol):\n    assert gap <= tol",
    "class Test:\n    TOL = 1e-4\n    def test(self):\n        assert gap <= self.TOL",
    "def setup(self):\n    self.tol = 1e-4\ndef test(self):\n    assert gap <= self.tol",
    "LIMITS = SimpleNamespace(tol=1e-4)\nassert gap <= LIMITS.tol",
]


@pytest.mark.parametrize(
    "source",
    CALLS + COMPARISONS + BYPASSES + DISGUISES + MORE_DISGUISES + SWALLOWED + UNKNOWN + EXPECTING + DISTANCES + NAMES,
)
def test_the_checker_reports(source):
    found = literal_tolerances(source)
    assert found
    assert all(sentence.startswith("line ") for sentence in found)


@pytest.mark.parametrize(
    "source",
    [
        "assert a == b",
        "np.testing.assert_array_equal(a, b)",
        "assert prove(a, b, floor).agrees",
        "assert prove(a, b, 0.0).agrees",
        "assert gap <= criterion.PROOF * norm",
        "assert gap <= roundings(4) * norm",
        "assert gap <= roundings_of_two_sums(len(losses)) * np.mean(losses)",
        "assert is_share(count, 100, 0.3)",
        "assert losses[-1] < losses[0]",
        "assert gap > 0",
        "assert abs(a - b) <= roundings(4) * norm(a)",
        "assert norm(a - b) <= criterion.PROOF * norm(a)",
        "assert norm(a - b) < norm(a - c)",
        "assert abs(len(a) - len(b)) <= count",
        "assert abs(a - b).max() <= lockstep.BOUNDS[dtype]",
        "assert re.sub(r'\\x1b\\[[0-9;]*m', '', shown) == re.sub(r'\\x1b\\[[0-9;]*m', '', other)",
        "assert 0 < lowest <= highest",
        "assert dropped(0.3) > 0",
        "assert len(rows) > 20",
        "assert len(rows) * 2 <= 7",
        "assert record['step'] < 15",
        "mask = np.arange(6) < lengths[:, None]",
        "assert bits >> 9 < threshold(5)",
        "schedule = make_schedule(peak)\nassert schedule(5) - schedule(4) > schedule(6) - schedule(5)",
        "assert learning_rate == 1e-3",
        "schedule = make_schedule(peak)\nassert schedule(0) == 0.1 * peak",
        "assert (step + 1) % 3 == 0",
        "assert step in range(11)",
        "assert max(lengths) == 7",
        "assert f'{gap:.1e}' in page",
        "self.lines -= 1\nif self.lines < 0:\n    raise OSError",
        "RATE = 0.01\ntrain(rate=RATE)\nassert losses[-1] < losses[0]",
        "dropped = generator.random(7) < 0.1",
        "assert len(found) <= limit and scale.floor('updates') == 20.0",
        "file.close()",
        "assert found == np.exp(1.0)",
        "def test(unscaled):\n    assert np.array_equal(unscaled(torch.full((3,), 3.0)), 2 * query)",
        "assert norm < norm_of(whole * np.float64(2))",
        "assert 0 < np.count_nonzero(moved) < moved.size",
        "assert np.array_equal(narrow, wide.astype(np.float16))",
        "assert (a + 1 == b + 1).all()",
        "assert np.count_nonzero(a != b) > 0",
        "assert int(text) == 3",
        "gap = gap\nassert gap < other",
        "assert np.exp(0.0) + 1 == np.exp(0.0) + 1.0",
        "assert name.partition('.')[0] == 'a'",
        "assert sorted(names)[0] == first and np.argmax(scores) == label",
        "'assert abs(a - b) < 1e-5'",
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
    assert literal_tolerances(use, elsewhere=offered("TOL = 1e-4", "other")) != []


@pytest.mark.parametrize("made", ["np.sign(a)", "1e-4", "abs(a) < 1e-4", "a.round(3)"])
def test_a_function_of_another_file_is_followed_there(made):
    other = f"def step(a):\n    return {made}"
    uses = ["from other import step as of\nassert of(a) == 0", "from other import step\nassert gap <= step(a)"]
    assert any(literal_tolerances(use, elsewhere=offered(other, "other")) for use in [*uses, other])


@pytest.mark.parametrize(
    "use", ["import places\nassert places.step(a) == 0", "from tests import places as p\nassert gap <= p.step(a)"]
)
@pytest.mark.parametrize("made", ["np.sign(a)", "a.round(3)"])
def test_a_function_is_followed_by_way_of_its_module(use, made):
    other = offered(f"def step(a):\n    return {made}", "places")
    assert literal_tolerances(use, elsewhere=other)
    assert not literal_tolerances(use, elsewhere=offered("def step(a):\n    return abs(a)", "places"))


def test_in_a_package_a_number_that_decides_has_a_name():
    assert written_tolerances("LIMIT = 1e-3\nok = gap < 8 * LIMIT and 1 <= count < 2**31") == []
    assert written_tolerances("ok = gap < 1e-3") == ["line 1: compares with 0.001"]
    assert written_tolerances("ok = gap < 8 * np.finfo(dtype).eps") == ["line 1: compares with the spacing eps"]
    assert written_tolerances("ok = np.allclose(a, b)") == ["line 1: allclose has a tolerance of its own"]


def test_a_sentence_names_line_and_number():
    assert literal_tolerances("TOL = 1e-4\n\nassert gap <= TOL") == ["line 3: compares with 0.0001"]
    assert literal_tolerances("np.allclose(a, b)") == ["line 1: allclose has a tolerance of its own"]
