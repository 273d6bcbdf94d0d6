"""A tiny BERT with random weights and a vocabulary of its own, in a folder in the layout of Hugging Face."""

from pathlib import Path

from shared.configs.bert import BertConfig
from shared.initial_weights import initial_weights
from shared.lazy.arrays import lazy
from shared.pretrained.folder import cast, write_folder
from shared.registry import TWINS
from torch_impl.build import build_twin
from torch_impl.weights import parameter_shapes

WORDS = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "plus", "minus"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
SIZES = {"embed_dim": 8, "num_heads": 2, "num_layers": 1, "hidden_dim": 12, "sequence_length": 16}


def write_bert(folder: Path, dtype: str = "float32", **changes) -> dict:
    """The folder; returns its arrays under the canonical names of BertModel."""
    arguments = vars(BertConfig(**{**SIZES, "vocabulary_size": len(WORDS), **changes}))
    shapes = parameter_shapes(build_twin(TWINS["BertModel"], arguments, abstract=True))
    arrays = cast(lazy(initial_weights(shapes, seed=7)), dtype)
    write_folder(folder, "BertModel", arguments, arrays)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return {name: array.read() for name, array in arrays.items()}
