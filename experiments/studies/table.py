"""Every study by name."""

from experiments.studies.ablations import ablations
from experiments.studies.complexity import complexity
from experiments.studies.depth import depth
from experiments.studies.linear_rnn import linear_rnn
from experiments.studies.low_rank import low_rank
from experiments.studies.masking import masking
from experiments.studies.relative import relative
from experiments.studies.scale import scale
from experiments.studies.scaling import scaling
from experiments.studies.selection import selection
from experiments.studies.study import Study
from experiments.studies.top_two import top_two

_STUDIES = (
    Study("selection", "Attention selects, averages, and reacts to one key", "Washington 1", selection),
    Study("relative", "Relative attention as a convolution and as max pooling", "Toronto 1", relative),
    Study("depth", "Gradients through many layers and steps", "Hopkins 2 to 4", depth),
    Study("linear-rnn", "The backward pass of a linear recurrent network by hand", "Hopkins 2 to 4", linear_rnn),
    Study("top-two", "A whole distribution from the two likeliest tokens", "Hopkins 2 to 4", top_two),
    Study("masking", "Ways to hide a position, and what leaks", "Hopkins 2 to 4", masking),
    Study("low-rank", "Attention of low rank", "Hopkins 2 to 4", low_rank),
    Study("scale", "Why scores are divided by the square root of the width", "Hopkins 2 to 4", scale),
    Study("complexity", "What attention costs", "Hopkins 2 to 4", complexity),
    Study("ablations", "A GPT with other attention, trained", "Washington 2.2", ablations, trains=True),
    Study("scaling", "Parameters and FLOPs of the scaling law's translators", "Toronto 2", scaling),
)
STUDIES: dict[str, Study] = {study.name: study for study in _STUDIES}
