"""Generation: equal tokens in both frameworks, with and without a cache, and those of transformers; what is refused."""

import itertools
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bounds import roundings_of_a_deep_gradient
from gpt2 import gpt2_of_transformers
from transformers import TopKLogitsWarper, TopPLogitsWarper

import jax_impl
import torch_impl
from crosscheck.twins.pair import SIDES
from jax_impl import generation as jax_generation
from shared import rng
from shared.configs.gpt import GPTConfig
from shared.errors import IsogradError
from shared.registry import TWINS
from shared.tasks.generation import Decoding, bucket
from torch_impl import generation as torch_generation
from torch_impl.one_token import OneTokenStep, can_pack

pytestmark = pytest.mark.usefixtures("float64_in_jax")

CONFIG = GPTConfig(
    vocabulary_size=53, sequence_length=24, embed_dim=12, num_heads=3, num_layers=2, dropout=0.5, tied=False
)
PROMPTS = np.random.default_rng(1).integers(1, CONFIG.vocabulary_size, (3, 7))[
    [1, 0, 2]
]  # the first writes its end again
LENGTHS = np.array([7, 3, 5])
STEPS = 30  # past the context
SETTINGS = {
    "greedy": {},
    "temperature": {"temperature": 0.9},
    "top_k": {"temperature": 1.0, "top_k": 5},
    "top_p": {"temperature": 1.3, "top_p": 0.8},
    "all": {"temperature": 1.1, "top_k": 20, "top_p": 0.9, "stop": 7},
}
GENERATE = {"torch": torch_impl.generate, "jax": jax_impl.generate}
STEPS_OF = {"torch": torch_generation, "jax": jax_generation}
TO_SIDE = {"torch": torch.tensor, "jax": jnp.asarray}


@pytest.fixture(scope="module")
def modules():
    with jax.enable_x64(True):
        return twins_of(CONFIG)


def twins_of(config):
    generator = np.random.default_rng(0)
    twins = {side: build.build_twin(TWINS["GPT"], asdict(config)) for side, (_, build, _) in SIDES.items()}
    shapes = SIDES["torch"][2].parameter_shapes(twins["torch"])
    arrays = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    arrays = {name: array * (not name.endswith("bias")) for name, array in arrays.items()}  # they'd favour one token
    for side, twin in twins.items():
        SIDES[side][2].load_arrays(twin, arrays)
        twin.train()
    return twins


def generated(modules, side, ids=PROMPTS, steps=STEPS, **settings):
    return np.asarray(GENERATE[side](modules[side], ids, steps=steps, **settings))


def likeliest(module, prompt, steps):
    """Token by token through the whole model, over the last tokens that the context holds."""
    ids = list(prompt)
    for _ in range(steps):
        window = torch.tensor([ids[-CONFIG.sequence_length :]])
        ids.append(int(module(window)[0, -1].argmax()))
    return ids


@pytest.mark.parametrize("settings", SETTINGS)
def test_both_frameworks_with_and_without_a_cache_give_the_same_tokens_for(settings, modules):
    chosen = SETTINGS[settings]
    runs = [
        generated(modules, side, lengths=LENGTHS, cache=cache, seed=3, **chosen)
        for side in GENERATE
        for cache in (True, False)
    ]
    assert all(np.array_equal(run, runs[0]) for run in runs)
    for row, length in zip(runs[0], LENGTHS, strict=True):
        assert not row[length + STEPS :].any()
    if settings != "greedy":
        assert not np.array_equal(runs[0], generated(modules, "torch", lengths=LENGTHS, seed=4, **chosen))


def test_the_likeliest_tokens_are_those_of_the_whole_model_at_every_step(modules):
    found = generated(modules, "torch", lengths=LENGTHS)
    modules["torch"].eval()
    assert len(np.unique(found)) > PROMPTS.size  # where one token repeats, a wrong position hides
    for row, length in zip(found, LENGTHS, strict=True):
        assert row[: length + STEPS].tolist() == likeliest(modules["torch"], row[:length], STEPS)


def test_the_likeliest_tokens_are_those_of_transformers(modules):
    theirs = gpt2_of_transformers(CONFIG, torch_impl.to_arrays(modules["torch"])).eval()
    new = CONFIG.sequence_length - PROMPTS.shape[1]
    options = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    expected = theirs.generate(torch.tensor(PROMPTS), attention_mask=torch.ones(PROMPTS.shape).long(), **options)
    assert np.array_equal(generated(modules, "torch", steps=new), expected.numpy())


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_first_row_gives_the_same_alone(settings, modules):
    alone = generated(modules, "torch", PROMPTS[:1], **SETTINGS[settings])
    assert np.array_equal(alone, generated(modules, "torch", lengths=LENGTHS, **SETTINGS[settings])[:1])


def test_equal_prompts_draw_different_tokens():
    rows = generated(twins_of(CONFIG), "torch", np.ones((4, 2), int), steps=20, temperature=1.0)
    assert len({tuple(row) for row in rows}) == 4


@pytest.mark.parametrize("side", GENERATE)
def test_new_tokens_are_told_as_they_come_and_a_row_repeats_the_token_that_stops_it(side, modules):
    told = []
    first = generated(modules, side, lengths=LENGTHS, steps=10, on_token=told.append)
    new = np.stack(told, 1)
    assert [row[n : n + 10].tolist() for row, n in zip(first, LENGTHS, strict=True)] == new.tolist()
    stop, until = int(PROMPTS[0, -1]), []  # a prompt that ends with it goes on
    stopped = generated(modules, side, PROMPTS[[0, 0, 0]], steps=10, stop=stop, on_token=until.append)
    end = new[0].tolist().index(stop)
    assert stopped[0, 7:].tolist() == [*new[0, :end], *[stop] * (10 - end)]
    assert len(until) == end + 1


@pytest.mark.parametrize("tied", [True, False])
def test_a_step_in_few_calls_gives_the_logits_and_the_cache_of_the_model(tied):
    module = twins_of(GPTConfig(**{**asdict(CONFIG), "tied": tied}))["torch"].eval()
    tokens, last = torch.tensor(PROMPTS), torch.tensor(LENGTHS) - 1
    with torch.inference_mode():
        every = torch.arange(PROMPTS.shape[1]).expand(PROMPTS.shape)
        _, cache = module.advance(tokens, every, module.empty_cache(len(tokens), 9))
        again = [(keys.clone(), values.clone()) for keys, values in cache]
        for each in itertools.chain(*again):  # what comes later is not read, the newest is written
            each[:, :, 7:], each[torch.arange(len(tokens)), :, last] = 99.0, 99.0
        x, cache = module.advance(tokens.gather(1, last[:, None]), last[:, None], cache)
        assert_near(OneTokenStep(module, again)(tokens, last), module.logits(x[:, 0]))
    for ours, theirs in zip(again, cache, strict=True):
        for our, their in zip(ours, theirs, strict=True):
            assert_near(our[:, :, :7], their[:, :, :7])


def assert_near(found, expected):
    assert (found - expected).norm() <= roundings_of_a_deep_gradient() * expected.norm()


class Doubled(torch_impl.LayerNorm):
    def forward(self, inputs):
        return 2 * super().forward(inputs)


def test_a_model_with_ablations_or_other_layers_or_hooks_is_read_as_it_is_written():
    for changes in ({"positions": "rotary"}, {"shared": "kv"}, {"similarity": "cosine"}, {"attention": "zeroed"}):
        assert not can_pack(torch_impl.GPT(GPTConfig(**{**asdict(CONFIG), **changes})))
    modules = twins_of(CONFIG)
    assert can_pack(modules["torch"])
    modules["torch"].norm = Doubled(CONFIG.embed_dim).double()
    assert not can_pack(modules["torch"])
    hooked = twins_of(CONFIG)["torch"]
    hooked.blocks[0].register_forward_hook(lambda layer, inputs, output: -output)
    assert not can_pack(hooked)


@pytest.mark.parametrize("side", GENERATE)
@pytest.mark.parametrize("width", [1, 255, 256, 700, 1024])
def test_the_likeliest_is_the_first_of_the_largest(side, width):
    generator = np.random.default_rng(width)
    logits = generator.integers(0, 40, (64, width)).astype(np.float32)  # many are equal
    logits[3, generator.integers(0, width, 2)] = np.nan
    logits[4] = -np.inf
    found = STEPS_OF[side]._likeliest(TO_SIDE[side](logits))
    assert np.array_equal(np.asarray(found), logits.argmax(-1))
    every_place = STEPS_OF[side]._likeliest(TO_SIDE[side](np.eye(width, dtype=np.float32)))
    assert np.array_equal(np.asarray(every_place), np.arange(width))


@pytest.mark.parametrize("side", GENERATE)
def test_limits_keep_what_transformers_keeps(side):
    scores = np.random.default_rng(0).integers(-20, 20, (4, 31)) / 10  # some are equal
    for k in (1, 3, 31, 99):
        expected = TopKLogitsWarper(k)(None, torch.tensor(scores)).numpy()
        assert np.array_equal(STEPS_OF[side].keep_top_k(TO_SIDE[side](scores), k), expected)
    scores = np.random.default_rng(1).standard_normal((4, 31))
    for p in (0.05, 0.5, 0.9):
        expected = TopPLogitsWarper(p)(None, torch.tensor(scores)).numpy()
        assert np.array_equal(STEPS_OF[side].keep_top_p(TO_SIDE[side](scores), p), expected)
    quarters = STEPS_OF[side].keep_top_p(TO_SIDE[side](np.zeros((1, 4))), 0.5)  # two add up to it exactly
    assert np.isfinite(np.asarray(quarters)).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("side", GENERATE)
def test_tokens_are_drawn_as_often_as_they_are_likely(side):
    probabilities = np.array([0.0, 0.25, 0.5, 0.0, 0.25, 0.0])
    uniforms = np.arange(0, 1, 1 / 64, dtype=np.float32)  # exact
    rows = TO_SIDE[side](np.tile(probabilities, (64, 1)))
    drawn = np.asarray(STEPS_OF[side].draw(rows, TO_SIDE[side](uniforms)))
    assert np.bincount(drawn, minlength=6).tolist() == (64 * probabilities).tolist()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("side", GENERATE)
def test_a_temperature_divides_the_logits_before_anything_is_left_out(side, temperature):
    logits = np.log([[16.0, 8.0, 4.0, 2.0, 1.0]] * 64)
    uniforms = np.arange(0, 1, 1 / 64, dtype=np.float32)
    drawn = STEPS_OF[side].choose(TO_SIDE[side](logits), TO_SIDE[side](uniforms), Decoding(temperature, top_p=0.875))
    kept = TopPLogitsWarper(0.875)(None, torch.tensor(logits) / temperature)
    expected = torch_generation.draw(torch.softmax(kept, -1), torch.tensor(uniforms))
    assert np.asarray(drawn).tolist() == expected.tolist()


@pytest.mark.parametrize("side", GENERATE)
def test_the_likeliest_that_reach_top_p_are_among_the_top_k(side):
    """Of 4 and 3 tenths, the first is more than half; of all tenths, it is not."""
    logits, uniforms = np.log([[4.0, 3, 2, 1]] * 64), np.arange(0, 1, 1 / 64, dtype=np.float32)
    for top_k, expected in ((2, {0}), (None, {0, 1})):
        drawn = STEPS_OF[side].choose(TO_SIDE[side](logits), TO_SIDE[side](uniforms), Decoding(1.0, top_k, 0.5))
        assert set(np.asarray(drawn).tolist()) == expected


def test_numbers_come_from_the_shared_random_stream(modules):
    """Each row has its own stream: the seed's key, with the number of the row folded in."""
    drawn = generated(modules, "torch", PROMPTS[:, :1], steps=1, temperature=1.0, seed=5)
    modules["torch"].eval()
    logits = modules["torch"](torch.tensor(PROMPTS[:, :1]))[:, -1]
    keys = [rng.fold_in(rng.key_from_seed(5), row) for row in range(len(PROMPTS))]
    uniforms = np.array([rng.random_uniform(key, 1)[0] for key in keys])
    expected = torch_generation.draw(torch.softmax(logits, -1), torch.tensor(uniforms))
    assert drawn[:, 1].tolist() == expected.tolist()


def test_dropout_takes_no_part_and_the_mode_of_every_layer_is_kept(modules):
    module = modules["torch"].train()
    module.dropout.eval()
    once, again = (generated(modules, "torch", steps=5) for _ in range(2))
    assert np.array_equal(once, again)
    assert module.training
    assert not module.dropout.training
    assert module.blocks[0].causal_attention.weights_dropout.training


def test_jax_compiles_once_a_bucket_of_lengths_and_never_once_a_token(monkeypatch):
    modules = twins_of(GPTConfig(**{**asdict(CONFIG), "sequence_length": 64, "embed_dim": 6, "num_layers": 1}))
    traced, next_logits = [], jax_generation.next_logits

    def traced_logits(module, tokens, ends, past, width, size):
        traced.append((width, size))
        return next_logits(module, tokens, ends, past, width, size)

    monkeypatch.setattr(jax_generation, "next_logits", traced_logits)
    generated(modules, "jax", PROMPTS[:1, :3], steps=20)
    assert traced == [(16, 32), (1, 32)]  # a prompt of up to 16 tokens, then one token, with room for 32
    generated(modules, "jax", PROMPTS[:1, :7], steps=25)
    assert len(traced) == 2
    assert [bucket(length) for length in (1, 16, 17, 64)] == [16, 16, 32, 64]


@pytest.mark.slow
def test_a_thousand_tokens_are_equal_in_both_frameworks():
    modules = twins_of(GPTConfig(**{**asdict(CONFIG), "sequence_length": 1024}))
    runs = [generated(modules, side, PROMPTS[:1], steps=1000, temperature=1.0, top_k=20) for side in GENERATE]
    assert np.array_equal(*runs)


BAD = {  # settings, and the sentence
    "a negative temperature": ({"temperature": -1.0}, "temperature must be above 0, got -1.0"),
    "a temperature of zero": ({"temperature": 0.0}, "temperature must be above 0, got 0.0: leave it out"),
    "a temperature that is no number": ({"temperature": float("nan")}, "temperature must be above 0, got nan"),
    "no token to draw from": ({"temperature": 1.0, "top_k": 0}, "top_k must be at least 1, got 0"),
    "top_p of zero": ({"temperature": 1.0, "top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
    "top_p above one": ({"temperature": 1.0, "top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
    "limits without a draw": ({"top_k": 3}, "needs a temperature: set temperature to 1.0"),
    "fewer than no steps": ({"steps": -1}, "steps must be at least 0, got -1"),
    "an unknown stop token": ({"stop": 53}, "expected a stop token of the vocabulary, 0 to 52, got 53"),
    "an unknown token": ({"ids": [[1, 53]]}, "expected token ids of the vocabulary, 0 to 52, got 53"),
    "a negative token": ({"ids": [[1, -2]]}, "expected token ids of the vocabulary, 0 to 52, got -2"),
    "a prompt of one axis": ({"ids": [1, 2]}, r"expected prompts as integers \(B, T\)"),
    "a prompt without tokens": ({"ids": np.zeros((1, 0), int)}, "with at least one token each"),
    "a prompt of fractions": ({"ids": [[0.5]]}, "got float64 of shape"),
    "a prompt beyond the context": ({"ids": np.ones((1, 25), int)}, "at most 24 tokens, the context .* got 25"),
    "lengths of another batch": ({"lengths": [1]}, r"expected 3 lengths between 1 and 7, one a prompt, got \[1\]"),
    "a length of zero": ({"lengths": [1, 0, 7]}, "expected 3 lengths between 1 and 7"),
    "a length beyond the prompt": ({"lengths": [1, 8, 7]}, "expected 3 lengths between 1 and 7"),
}


@pytest.mark.parametrize("side", GENERATE)
@pytest.mark.parametrize("bad", BAD)
def test_the_following_is_refused(bad, side, modules):
    settings, sentence = BAD[bad]
    with pytest.raises(IsogradError, match=sentence):
        generated(modules, side, **settings)


@pytest.mark.parametrize("side", GENERATE)
def test_no_steps_give_the_prompts(side, modules):
    assert np.array_equal(generated(modules, side, steps=0), PROMPTS)


@pytest.mark.parametrize(
    "settings",
    [{"ids": np.ones((1, 24), int)}, {"ids": [[0, 52]]}, {"stop": 0}, {"stop": 52}],
    ids=["a full context", "the first token and the last", "stop at the first", "stop at the last"],
)
def test_the_limits_themselves_are_taken(settings, modules):
    assert np.array_equal(generated(modules, "torch", steps=0, **settings), settings.get("ids", PROMPTS))
