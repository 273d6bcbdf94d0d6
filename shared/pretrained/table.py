"""Every family of pretrained models, by the `model_type` of its config.json."""

from shared.errors import IsogradError
from shared.pretrained.bert import BERT, DISTILBERT, ROBERTA
from shared.pretrained.clip import CLIP
from shared.pretrained.family import Config, Family
from shared.pretrained.gpt2 import GPT2

FAMILIES = {family.model_type: family for family in (BERT, ROBERTA, DISTILBERT, GPT2, CLIP)}


def family_of(twin: str, arguments: Config) -> Family:
    """The family that a twin with these arguments is written as; raises IsogradError if there is none."""
    for family in sorted(FAMILIES.values(), key=lambda family: -len(family.own)):
        own = family.owned(twin)
        if twin in family.architectures.values() and all(arguments[name] == value for name, value in own.items()):
            return family
    raise IsogradError(f"transformers has no model for {twin} with these arguments: {dict(arguments)}")
