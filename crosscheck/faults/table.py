"""All faults and all equivalents, by name."""

from crosscheck.faults.fault import Equivalent, Fault
from crosscheck.faults.rows.adamw import OPTIMIZERS
from crosscheck.faults.rows.attention import ATTENTION
from crosscheck.faults.rows.attention_variants import EFFICIENT_ATTENTION, RELATIVE_ATTENTION
from crosscheck.faults.rows.blocks import BLOCKS
from crosscheck.faults.rows.dropout import DROPOUT
from crosscheck.faults.rows.embeddings_and_positions import EMBEDDINGS
from crosscheck.faults.rows.encoder_decoder import ENCODER_DECODER
from crosscheck.faults.rows.equivalents_attention import EQUIVALENTS_ATTENTION
from crosscheck.faults.rows.equivalents_recurrent import EQUIVALENTS_RECURRENT
from crosscheck.faults.rows.fused import FUSED_LAYERS
from crosscheck.faults.rows.gpt import EQUIVALENTS_GPT, GPT
from crosscheck.faults.rows.linear import LINEAR, LINEAR_RNN
from crosscheck.faults.rows.losses import BORDERS, LOSSES
from crosscheck.faults.rows.other_optimizers import RULES
from crosscheck.faults.rows.precision import PRECISION
from crosscheck.faults.rows.pretrained import EQUIVALENTS_PRETRAINED, PRETRAINED
from crosscheck.faults.rows.recurrent import RECURRENT
from crosscheck.faults.rows.recurrent_layers import RECURRENT_LAYERS
from crosscheck.faults.rows.soft_attention import SOFT_ATTENTION
from crosscheck.faults.rows.training import RUNS
from crosscheck.faults.rows.transformer import TRANSFORMER
from crosscheck.faults.rows.translation import EQUIVALENTS_TRANSLATION, TRANSLATION
from crosscheck.faults.rows.updates import EQUIVALENTS_UPDATES, UPDATES
from crosscheck.faults.rows.weight_rules import WEIGHT_RULES
from shared.configs.validation import check_choice

ALL_FAULTS: tuple[Fault, ...] = (
    *LINEAR,
    *EMBEDDINGS,
    *RECURRENT,
    *RECURRENT_LAYERS,
    *FUSED_LAYERS,
    *SOFT_ATTENTION,
    *ENCODER_DECODER,
    *DROPOUT,
    *WEIGHT_RULES,
    *ATTENTION,
    *BLOCKS,
    *LINEAR_RNN,
    *RELATIVE_ATTENTION,
    *EFFICIENT_ATTENTION,
    *TRANSFORMER,
    *LOSSES,
    *OPTIMIZERS,
    *UPDATES,
    *RUNS,
    *PRECISION,
    *BORDERS,
    *RULES,
    *GPT,
    *PRETRAINED,
    *TRANSLATION,
)
ALL_EQUIVALENTS: tuple[Equivalent, ...] = (
    *EQUIVALENTS_RECURRENT,
    *EQUIVALENTS_ATTENTION,
    *EQUIVALENTS_UPDATES,
    *EQUIVALENTS_GPT,
    *EQUIVALENTS_PRETRAINED,
    *EQUIVALENTS_TRANSLATION,
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in ALL_FAULTS}
EQUIVALENTS: dict[str, Equivalent] = {equivalent.name: equivalent for equivalent in ALL_EQUIVALENTS}


def find_fault(name: str) -> Fault:
    """The fault with this name; raises IsogradError with similar names if there is none."""
    check_choice("fault", name, FAULTS)
    return FAULTS[name]
