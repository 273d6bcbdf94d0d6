"""The JAX/Flax NNX twin of every component. Twin: torch_impl/__init__.py."""

from jax_impl.dropout import Dropout, seed_dropout
from jax_impl.generation import generate
from jax_impl.layers.ablations.linear_attention import AttentionFree, RandomFeatureAttention, SimpleAttentionFree
from jax_impl.layers.ablations.projections import MLPProjection, NonlinearProjection
from jax_impl.layers.attention import (
    apply_causal_mask,
    attn_scaled,
    attn_softmax,
    compute_outputs,
    init_qkv_proj,
    make_causal_mask,
    masked_softmax,
    merge_heads,
    pairwise_similarities,
    self_attention,
    split_heads,
    split_heads_qkv,
)
from jax_impl.layers.attention_blocks import MLP, PostNormAttentionBlock, PreNormAttentionBlock
from jax_impl.layers.cross_attention import AdditiveAttention, CausalScaledDotAttention, ScaledDotAttention
from jax_impl.layers.decoder import DecoderAttn
from jax_impl.layers.efficient_attention import low_rank_attention, projected_attention
from jax_impl.layers.embedding import Embedding
from jax_impl.layers.encoder import Encoder
from jax_impl.layers.gru import GRU, BidirectionalGRU, GRUCell
from jax_impl.layers.layer_norm import LayerNorm
from jax_impl.layers.linear import Linear
from jax_impl.layers.linear_rnn import LinearRNN
from jax_impl.layers.multi_headed_attention import MultiHeadedAttention
from jax_impl.layers.positions import LearnedPositions, SinusoidalPositions
from jax_impl.layers.pretrained.encoder_layers import ActivatedMLP, PostNormLayer, PreNormLayer
from jax_impl.layers.pretrained.patch_embedding import PatchEmbedding
from jax_impl.layers.pretrained.self_attention import SelfAttention
from jax_impl.layers.relative_attention import RelativeAttention
from jax_impl.layers.reset_before_gru import ResetBeforeGRUCell
from jax_impl.layers.small_normal import NormalEmbedding, NormalLinear
from jax_impl.layers.soft_attention import Attn
from jax_impl.looking import look
from jax_impl.losses import cross_entropy, predicted_classes, weighted_mean
from jax_impl.models.attention_is_all_you_need import (
    MultiHeadedDecoder,
    MultiHeadedEncoder,
    PositionedLetters,
    PostNormDecoder,
    PostNormEncoder,
    PostNormFeedForward,
    PostNormTransformer,
)
from jax_impl.models.bert import BertEmbeddings, BertForMaskedLM, BertForSentenceClassification, BertModel
from jax_impl.models.clip import CLIPModel, CLIPTextModel, CLIPVisionModel, Projection, contrastive_loss
from jax_impl.models.encoder_decoder import EncoderDecoder
from jax_impl.models.gpt import GPT, CausalSelfAttention, FeedForward, GPTBlock
from jax_impl.models.recurrent_translation import GRUEncoder, RNNAttentionDecoder, RNNDecoder
from jax_impl.models.review_classifiers import ReviewClassifierGRU, ReviewClassifierTransformer
from jax_impl.models.transformer import Transformer
from jax_impl.models.transformer_translation import DecoderOnlyTranslator, TransformerDecoder, TransformerEncoder
from jax_impl.models.translator import Translator
from jax_impl.pretrained import from_pretrained, save_pretrained
from jax_impl.translation import translate
from jax_impl.weights import load_arrays, to_arrays

CrossAttention = ScaledDotAttention  # the same layer where the keys are another sequence's

__all__ = [
    "AttentionFree",
    "RandomFeatureAttention",
    "SimpleAttentionFree",
    "MLPProjection",
    "NonlinearProjection",
    "ActivatedMLP",
    "PostNormLayer",
    "PreNormLayer",
    "PatchEmbedding",
    "SelfAttention",
    "BertEmbeddings",
    "BertForMaskedLM",
    "BertForSentenceClassification",
    "BertModel",
    "CLIPModel",
    "CLIPTextModel",
    "CLIPVisionModel",
    "Projection",
    "contrastive_loss",
    "GPT",
    "GRU",
    "MLP",
    "AdditiveAttention",
    "Attn",
    "BidirectionalGRU",
    "CausalScaledDotAttention",
    "CausalSelfAttention",
    "CrossAttention",
    "DecoderAttn",
    "DecoderOnlyTranslator",
    "Dropout",
    "Embedding",
    "Encoder",
    "EncoderDecoder",
    "FeedForward",
    "GPTBlock",
    "GRUCell",
    "GRUEncoder",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "LinearRNN",
    "MultiHeadedAttention",
    "MultiHeadedDecoder",
    "MultiHeadedEncoder",
    "NormalEmbedding",
    "NormalLinear",
    "PositionedLetters",
    "PostNormAttentionBlock",
    "PostNormDecoder",
    "PostNormEncoder",
    "PostNormFeedForward",
    "PostNormTransformer",
    "PreNormAttentionBlock",
    "RNNAttentionDecoder",
    "RNNDecoder",
    "RelativeAttention",
    "ResetBeforeGRUCell",
    "ReviewClassifierGRU",
    "ReviewClassifierTransformer",
    "ScaledDotAttention",
    "SinusoidalPositions",
    "Transformer",
    "TransformerDecoder",
    "TransformerEncoder",
    "Translator",
    "apply_causal_mask",
    "attn_scaled",
    "attn_softmax",
    "compute_outputs",
    "cross_entropy",
    "from_pretrained",
    "generate",
    "save_pretrained",
    "init_qkv_proj",
    "load_arrays",
    "low_rank_attention",
    "make_causal_mask",
    "masked_softmax",
    "merge_heads",
    "pairwise_similarities",
    "predicted_classes",
    "projected_attention",
    "seed_dropout",
    "self_attention",
    "split_heads",
    "split_heads_qkv",
    "look",
    "to_arrays",
    "translate",
    "weighted_mean",
]
