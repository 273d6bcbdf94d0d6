"""The PyTorch twin of every component. Twin: jax_impl/__init__.py."""

from torch_impl.dropout import Dropout, seed_dropout
from torch_impl.generation import generate
from torch_impl.layers.ablations.linear_attention import AttentionFree, RandomFeatureAttention, SimpleAttentionFree
from torch_impl.layers.ablations.projections import MLPProjection, NonlinearProjection
from torch_impl.layers.attention import (
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
from torch_impl.layers.attention_blocks import MLP, PostNormAttentionBlock, PreNormAttentionBlock
from torch_impl.layers.cross_attention import AdditiveAttention, CausalScaledDotAttention, ScaledDotAttention
from torch_impl.layers.decoder import DecoderAttn
from torch_impl.layers.efficient_attention import low_rank_attention, projected_attention
from torch_impl.layers.embedding import Embedding
from torch_impl.layers.encoder import Encoder
from torch_impl.layers.gru import GRU, BidirectionalGRU, GRUCell
from torch_impl.layers.layer_norm import LayerNorm
from torch_impl.layers.linear import Linear
from torch_impl.layers.linear_rnn import LinearRNN
from torch_impl.layers.multi_headed_attention import MultiHeadedAttention
from torch_impl.layers.positions import LearnedPositions, SinusoidalPositions
from torch_impl.layers.pretrained.encoder_layers import ActivatedMLP, PostNormLayer, PreNormLayer
from torch_impl.layers.pretrained.patch_embedding import PatchEmbedding
from torch_impl.layers.pretrained.self_attention import SelfAttention
from torch_impl.layers.relative_attention import RelativeAttention
from torch_impl.layers.reset_before_gru import ResetBeforeGRUCell
from torch_impl.layers.small_normal import NormalEmbedding, NormalLinear
from torch_impl.layers.soft_attention import Attn
from torch_impl.looking import look
from torch_impl.losses import cross_entropy, predicted_classes, weighted_mean
from torch_impl.models.attention_is_all_you_need import (
    MultiHeadedDecoder,
    MultiHeadedEncoder,
    PositionedLetters,
    PostNormDecoder,
    PostNormEncoder,
    PostNormFeedForward,
    PostNormTransformer,
)
from torch_impl.models.bert import BertEmbeddings, BertForMaskedLM, BertForSentenceClassification, BertModel
from torch_impl.models.clip import CLIPModel, CLIPTextModel, CLIPVisionModel, Projection, contrastive_loss
from torch_impl.models.encoder_decoder import EncoderDecoder
from torch_impl.models.gpt import GPT, CausalSelfAttention, FeedForward, GPTBlock
from torch_impl.models.recurrent_translation import GRUEncoder, RNNAttentionDecoder, RNNDecoder
from torch_impl.models.review_classifiers import ReviewClassifierGRU, ReviewClassifierTransformer
from torch_impl.models.transformer import Transformer
from torch_impl.models.transformer_translation import DecoderOnlyTranslator, TransformerDecoder, TransformerEncoder
from torch_impl.models.translator import Translator
from torch_impl.pretrained import from_pretrained, save_pretrained
from torch_impl.translation import translate
from torch_impl.weights import load_arrays, to_arrays

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
