"""A small BERT pretrained by masked language modelling, and its sibling on Python's reference."""

from dataclasses import replace

from experiments.catalogue.fine_tuning import TINY, UNDECAYED, WARMED_UP
from shared.configs.experiment import Experiment, ModelConfig
from shared.configs.optimizer import AdamWConfig, TrainingConfig

TWIN = "BertForMaskedLM"
SMALL_BERT = {**TINY, "embed_dim": 256, "num_layers": 4, "hidden_dim": 1024, "dropout": 0.1, "attention_dropout": 0.1}

WIKITEXT = Experiment(
    name="mlm-wikitext",
    title="a small BERT pretrained on Wikipedia",
    dataset="wikitext-2-lines",
    model=ModelConfig(TWIN, {**SMALL_BERT, "pooler": False}),
    optimizer=AdamWConfig(learning_rate=5e-4, weight_decay=0.01),
    training=TrainingConfig(clip_norm=1.0, groups=(UNDECAYED,)),
    schedule=WARMED_UP,
    batch_size=64,
    length=128,
    steps=20_000,
    evaluate_every=1000,
    checkpoint_every=2000,
    task="masked_language_modelling",
)
PYDOC = replace(
    WIKITEXT,
    name="mlm-pydoc-small",
    title="a tiny BERT pretrained on Python's reference",
    dataset="pydoc",
    model=ModelConfig(TWIN, {**TINY, "pooler": False}),
    optimizer=replace(WIKITEXT.optimizer, learning_rate=1e-3),
    batch_size=16,
    length=32,
    steps=300,
    evaluate_every=100,
    checkpoint_every=300,
)
MASKED_LANGUAGE_MODELS = (WIKITEXT, PYDOC)
