"""All faults and all equivalents by name."""

from crosscheck.faults.attention import ATTENTION
from crosscheck.faults.blocks import BLOCKS
from crosscheck.faults.borders import BORDERS
from crosscheck.faults.dropout import DROPOUT
from crosscheck.faults.embeddings_and_positions import EMBEDDINGS
from crosscheck.faults.encoder_decoder import ENCODER_DECODER
from crosscheck.faults.equivalents_attention import EQUIVALENTS_ATTENTION
from crosscheck.faults.equivalents_recurrent import EQUIVALENTS_RECURRENT
from crosscheck.faults.fault import Equivalent, Fault
from crosscheck.faults.linear import LINEAR
from crosscheck.faults.losses import LOSSES
from crosscheck.faults.optimizers import OPTIMIZERS
from crosscheck.faults.precision import PRECISION
from crosscheck.faults.recurrent import RECURRENT
from crosscheck.faults.recurrent_layers import RECURRENT_LAYERS
from crosscheck.faults.rules import RULES
from crosscheck.faults.runs import RUNS
from crosscheck.faults.soft_attention import SOFT_ATTENTION
from crosscheck.faults.transformer import TRANSFORMER
from crosscheck.faults.updates import EQUIVALENTS_UPDATES, UPDATES
from crosscheck.faults.weight_rules import WEIGHT_RULES
from shared.configs.validation import check_choice

ALL_FAULTS: tuple[Fault, ...] = (
    *LINEAR,
    *EMBEDDINGS,
    *RECURRENT,
    *RECURRENT_LAYERS,
    *SOFT_ATTENTION,
    *ENCODER_DECODER,
    *DROPOUT,
    *WEIGHT_RULES,
    *ATTENTION,
    *BLOCKS,
    *TRANSFORMER,
    *LOSSES,
    *OPTIMIZERS,
    *UPDATES,
    *RUNS,
    *PRECISION,
    *BORDERS,
    *RULES,
)
ALL_EQUIVALENTS: tuple[Equivalent, ...] = (
    *EQUIVALENTS_RECURRENT,
    *EQUIVALENTS_ATTENTION,
    *EQUIVALENTS_UPDATES,
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in ALL_FAULTS}
EQUIVALENTS: dict[str, Equivalent] = {equivalent.name: equivalent for equivalent in ALL_EQUIVALENTS}


def find_fault(name: str) -> Fault:
    """The fault of a name; raises IsogradError with the nearest names if there is none."""
    check_choice("fault", name, FAULTS)
    return FAULTS[name]
