"""Twins stay twins: files, classes, methods, arguments, attributes and shapes match, and the registry has them all."""

import ast

import pytest
from places import ROOT
from twin_rule import definitions, differences

# These wrap what differs between the frameworks; their public names are twins, their private helpers need not be.
PRIVATE_MAY_DIFFER = {
    "build.py",
    "objective.py",
    "generation.py",
    "translation.py",
    "looking.py",
    "backend.py",
    "layers/fused_gru.py",
    "layers/persistent_gru.py",
    "layer_keys.py",
    "layers/linear_rnn.py",
    "dropout.py",
    "optimizer.py",
    "random_bits.py",
    "weight_files.py",
    "weights.py",
    "update.py",
    "pretrained.py",
}
# CUDA graphs, few calls, one pass: JAX compiles whole steps; a gradient that torch.compile would add up in any order.
ONLY_IN_TORCH = {"recorded.py", "one_token.py", "one_pass_adamw.py", "ordered_embedding.py"}
# A damaged entry stays for ever in JAX's cache, where PyTorch's replaces it; Triton's launcher is PyTorch's.
# Orbax and the states of NNX are JAX's own.
ONLY_IN_JAX = {"compile_cache.py", "triton_call.py", "orbax_folders.py", "nnx_states.py"}
PUBLIC_FOLDERS = ("layers", "models")


def files(package: str) -> set[str]:
    return {path.relative_to(ROOT / package).as_posix() for path in (ROOT / package).rglob("*.py")}


PAIRS = sorted(files("torch_impl") & files("jax_impl"))


def public_classes() -> dict[str, str]:
    """Class name -> module path such as "layers.gru", for every public class of the torch side."""
    classes = {}
    for path in PAIRS:
        if path.startswith(PUBLIC_FOLDERS):
            body = ast.parse((ROOT / "torch_impl" / path).read_text()).body
            names = [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
            classes |= dict.fromkeys(names, path.removesuffix(".py").replace("/", "."))
    return classes


def test_every_file_has_its_twin():
    assert files("torch_impl") - ONLY_IN_TORCH == files("jax_impl") - ONLY_IN_JAX


@pytest.mark.parametrize("path", PAIRS)
def test_twins_differ_only_where_they_may(path):
    sources = [(ROOT / package / path).read_text() for package in ("torch_impl", "jax_impl")]
    assert differences(*sources, path=path, private_may_differ=path in PRIVATE_MAY_DIFFER) == []


def test_every_public_class_has_a_registry_entry():
    from shared.registry import TWINS

    registered = {name: twin.module for name, twin in TWINS.items()}
    missing = {name: module for name, module in public_classes().items() if registered.get(name) != module}
    assert missing == {}


@pytest.mark.parametrize("package", ["torch_impl", "jax_impl"])
def test_every_registry_entry_is_defined_where_it_says(package):
    from shared.registry import TWINS

    for twin in TWINS.values():
        source = (ROOT / package / (twin.module.replace(".", "/") + ".py")).read_text()
        assert twin.public_name in definitions(ast.parse(source).body), twin


TORCH = '''"""An idea. Twin: jax_impl/layers/idea.py."""
class Layer(nn.Module):
    def __init__(self, size: int, bias: bool = True, *, eps: float = 1e-5):
        super().__init__()
        self.size, self.eps = size, eps
        self.register_buffer("table", torch.zeros(size))
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        return self.step(x)

    @property
    def width(self): ...

    def step(self, x): ...

class Other(nn.Module): ...

def pool(x, axis=-1): ...

def _helper(): ...
'''

JAX = '''"""An idea. Twin: torch_impl/layers/idea.py."""
class Layer(nnx.Module):
    def __init__(self, size: int, bias: bool = True, *, eps: float = 1e-5, rngs: nnx.Rngs):
        self.size, self.eps = size, eps
        self.table = nnx.Variable(jnp.zeros(size))
        self.weight = nnx.Param(jnp.ones(size))

    def __call__(self, x: Float[Array, "B E"]) -> Float[Array, "B E"]:
        return self.step(x)

    @property
    def width(self): ...

    def step(self, x): ...

class Other(nnx.Module): ...

def pool(x, axis=-1, *, rngs): ...

def _helper(): ...
'''

BREACHES = {  # what is broken: (text of JAX, its replacement, the start of the sentence that reports it)
    "a class has a different name": ("class Other", "class Another", "file:"),
    "a class is missing": ("class Other(nnx.Module): ...\n", "", "file:"),
    "a function comes before a class": ("class Other(nnx.Module): ...", "def early(): ...", "file:"),
    "a class became a function": ("class Other(nnx.Module): ...", "def Other(): ...", "Other:"),
    "a private helper is missing": ("def _helper(): ...", "", "file:"),
    "a method has a different name": ("def step", "def advance", "Layer, methods:"),
    "a method is extra": (
        "def step(self, x): ...",
        "def step(self, x): ...\n    def more(self): ...",
        "Layer, methods:",
    ),
    "an argument has a different name": ("bias: bool", "use_bias: bool", "Layer.__init__, arguments:"),
    "arguments are swapped": (
        "size: int, bias: bool = True",
        "bias: bool, size: int = True",
        "Layer.__init__, arguments:",
    ),
    "a default differs": ("eps: float = 1e-5", "eps: float = 1e-6", "Layer.__init__, arguments:"),
    "a default is missing": ("axis=-1", "axis", "pool, arguments:"),
    "an argument became keyword-only": ("bias: bool = True, *,", "*, bias: bool = True,", "Layer.__init__, arguments:"),
    "rngs is positional": ("x, axis=-1, *, rngs", "x, axis=-1, rngs=None", "pool, arguments:"),
    "rngs does not come last": (
        "eps: float = 1e-5, rngs: nnx.Rngs",
        "rngs: nnx.Rngs, eps: float = 1e-5",
        "Layer.__init__, arguments:",
    ),
    "an open argument list": ("def step(self, x)", "def step(self, x, **options)", "Layer.step, arguments:"),
    "an attribute has a different name": ("self.weight =", "self.kernel =", "Layer, attributes:"),
    "an attribute is missing": ("self.weight = nnx.Param(jnp.ones(size))", "pass", "Layer, attributes:"),
    "an attribute of a tuple is missing": ("self.size, self.eps = size, eps", "self.size = size", "Layer, attributes:"),
    "a registered buffer has a different name": ("self.table", "self.rows", "Layer, attributes:"),
    "an attribute appears in a method": ("return self.step(x)", "self.last = x", "Layer, attributes:"),
    "a shape differs": ('Float[Array, "B E"])', 'Float[Array, "E B"])', "Layer.forward, shapes:"),
    "the returned shape differs": ('-> Float[Array, "B E"]', '-> Float[Array, "B"]', "Layer.forward, shapes:"),
    "a property became a method": ("@property", "@cached", "Layer.width, decorators:"),
    "the docstring names a different twin": ("torch_impl/layers/idea.py", "torch_impl/layers/other.py", "docstring:"),
    "the docstring states a different idea": ("An idea.", "A notion.", "docstring:"),
}


def test_the_checker_accepts_the_three_allowed_differences():
    assert differences(TORCH, JAX, path="layers/idea.py") == []


@pytest.mark.parametrize("breach", BREACHES)
def test_the_checker_reports(breach):
    text, replacement, sentence = BREACHES[breach]
    assert text in JAX
    found = differences(TORCH, JAX.replace(text, replacement), path="layers/idea.py")
    assert any(difference.startswith(sentence) for difference in found), found


def test_only_jax_may_take_rngs():
    assert differences(TORCH.replace("eps: float = 1e-5", "eps: float = 1e-5, rngs=None"), JAX) != []


def test_private_helpers_may_differ_only_where_that_is_allowed():
    without_helper = JAX.replace("def _helper(): ...", "")
    assert differences(TORCH, without_helper) != []
    assert differences(TORCH, without_helper, private_may_differ=True) == []
