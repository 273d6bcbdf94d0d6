"""The verdicts on ablations: learned or not, by the frequencies of tokens; better or worse than every seed."""

import numpy as np
import pytest

from experiments.catalogue import find_experiment
from experiments.catalogue.ablations import ABLATIONS
from experiments.studies import ablations as study
from experiments.studies.study import Both
from shared.data.language.corpora import CORPORA


def trained(torch, jax=None):
    one, other = (study.Trained(np.zeros(2), np.array([value])) for value in (torch, jax or torch))
    return Both(one, other)


SEEDS = [trained(50.0), trained(60.0)]


@pytest.mark.parametrize(
    ("perplexities", "verdict"),
    [
        ((49.0, 49.5), "better than all"),
        ((61.0, 60.5), "worse than all"),
        ((50.0, 60.0), "alike"),
        ((53.0, 54.0), "alike"),
        ((49.0, 61.0), "alike"),
        ((61.0, 55.0), "alike"),
    ],
)
def test_an_ablation_is_better_or_worse_where_both_frameworks_find_it_beyond_every_seed(perplexities, verdict):
    claim = study._beside("rotary", trained(*perplexities), SEEDS)
    assert claim.words == f"rotary against the plain model's seeds: {verdict}"
    assert claim.found == Both(*(perplexity / 55.0 for perplexity in perplexities))


@pytest.mark.parametrize(("perplexities", "verdict"), [((99.0, 99.5), "holds"), ((99.0, 101.0), "fails")])
def test_an_ablation_has_learned_where_both_beat_the_frequencies_of_tokens(perplexities, verdict):
    assert study._learns("cosine", trained(*perplexities), 100.0).verdict == verdict


def test_each_ablation_differs_from_the_plain_experiment_in_one_setting_of_its_model():
    plain = find_experiment("ablation-plain")
    assert CORPORA[plain.dataset].built_in is not None
    for name, (_, changes) in ABLATIONS.items():
        experiment = find_experiment(f"ablation-{name}")
        assert len(changes) == (name != "plain")
        assert experiment.model.arguments == {**plain.model.arguments, **changes}
        for part in ("optimizer", "training", "schedule", "batch_size", "length", "steps", "seed", "samples"):
            assert getattr(experiment, part) == getattr(plain, part)
