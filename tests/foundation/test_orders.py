"""The order of every task's data depends on the seed and on the epoch: runs of neighbouring seeds share no epoch."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.catalogue import find_experiment
from shared.data.batches import batches
from shared.data.examples import Examples
from shared.data.pairs.batches import PairOrder
from shared.tasks.language_modelling import Stream, Windows
from shared.tasks.masked_language_modelling import HiddenTokens

LENGTH, ROWS = 5, 40
IDS = np.arange(ROWS * LENGTH, dtype=np.int32)


class Codec:
    """What orders ask a codec for."""

    vocabulary_size, filler, bytes_of_tokens = ROWS * LENGTH, 0, np.ones(ROWS * LENGTH, np.int32)

    @staticmethod
    def special(token):
        return len(token)


def of_examples(seed, number):
    examples = Examples(IDS, np.arange(ROWS + 1) * LENGTH, np.arange(ROWS, dtype=np.int32))
    return batches(examples, 3, length=LENGTH, seed=seed, epoch=number, shuffle=True)


def of_pairs(seed, number):
    return PairOrder([([row], [row]) for row in range(ROWS)], 3, (2,), seed, number, True, joined=False).start_at(0)


def of_windows(seed, number):
    experiment = replace(find_experiment("lm-shakespeare-char-small"), length=LENGTH, batch_size=3, seed=seed)
    return Windows(experiment, Stream(IDS, np.array([len(IDS)])), Codec, number, True).start_at(0)


def of_hidden_tokens(seed, number):
    experiment = replace(find_experiment("mlm-pydoc-small"), length=LENGTH + 2, batch_size=3, seed=seed)
    return HiddenTokens(experiment, IDS, Codec, number, True).start_at(0)


ORDERS = {"examples": of_examples, "pairs": of_pairs, "windows": of_windows, "hidden tokens": of_hidden_tokens}


def labels(found):
    return np.concatenate([batch["labels"] for batch in found]).tolist()


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_each_seed_and_epoch_has_an_order_of_its_own(order):
    orders = [labels(order(seed, number)) for seed in range(3) for number in range(3)]
    assert all(found not in orders[:place] for place, found in enumerate(orders))
    assert labels(order(1, 1)) == orders[4]
