"""Every twin's formula by its public name, and one forward and backward pass of it in float64."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosscheck.recording.nesting import flat_outputs
from crosscheck.recording.values import Options, Values, cotangent
from crosscheck.twins.formulas import (
    attention,
    bert,
    clip,
    efficient_attention,
    gpt,
    layers,
    losses,
    models,
    recurrent,
    translation,
)
from crosscheck.twins.formulas.weights import Weights
from shared.arrays import ArrayMapping, Arrays
from shared.registry import find_twin

FORMULAS: Mapping[str, Callable[..., Any]] = {  # (weights, constructor arguments, inputs by name) -> outputs
    "Linear": layers.linear,
    "Embedding": layers.embedding,
    "LayerNorm": layers.layer_norm,
    "LearnedPositions": layers.positions,
    "GRUCell": recurrent.gru_cell,
    "GRU": recurrent.gru,
    "BidirectionalGRU": recurrent.bidirectional_gru,
    "Encoder": recurrent.encoder,
    "DecoderAttn": recurrent.decoder,
    "LinearRNN": recurrent.linear_rnn,
    "Attn": attention.soft_attention,
    "MultiHeadedAttention": attention.multi_headed_attention,
    "RelativeAttention": attention.relative_attention,
    "MLP": attention.mlp,
    "PreNormAttentionBlock": attention.pre_norm_block,
    "PostNormAttentionBlock": attention.post_norm_block,
    "EncoderDecoder": models.encoder_decoder,
    "Transformer": models.transformer,
    "ReviewClassifierGRU": models.review_classifier_gru,
    "ReviewClassifierTransformer": models.review_classifier_transformer,
    "NormalLinear": layers.linear,
    "NormalEmbedding": gpt.normal_embedding,
    "CausalSelfAttention": gpt.causal_self_attention,
    "FeedForward": gpt.feed_forward,
    "GPTBlock": gpt.gpt_block,
    "GPT": gpt.gpt,
    "SelfAttention": bert.self_attention,
    "ActivatedMLP": bert.activated_mlp,
    "PostNormLayer": bert.post_norm_layer,
    "PreNormLayer": bert.pre_norm_layer,
    "BertEmbeddings": bert.bert_embeddings,
    "BertModel": bert.bert_model,
    "BertForSentenceClassification": bert.bert_for_sentence_classification,
    "BertForMaskedLM": bert.bert_for_masked_lm,
    "PatchEmbedding": clip.patch_embedding,
    "CLIPTextModel": clip.text_model,
    "CLIPVisionModel": clip.vision_model,
    "Projection": clip.projection,
    "CLIPModel": clip.clip_model,
    "contrastive_loss": clip.contrastive_loss,
    "ResetBeforeGRUCell": translation.reset_before_gru_cell,
    "AdditiveAttention": translation.additive_attention,
    "ScaledDotAttention": translation.scaled_dot_attention,
    "CausalScaledDotAttention": translation.causal_scaled_dot_attention,
    "SinusoidalPositions": translation.sinusoidal_positions,
    "GRUEncoder": translation.gru_encoder,
    "RNNDecoder": translation.rnn_decoder,
    "RNNAttentionDecoder": translation.rnn_attention_decoder,
    "TransformerEncoder": translation.transformer_encoder,
    "TransformerDecoder": translation.transformer_decoder,
    "PostNormFeedForward": translation.post_norm_feed_forward,
    "PostNormEncoder": translation.post_norm_encoder,
    "PostNormDecoder": translation.post_norm_decoder,
    "PostNormTransformer": translation.post_norm_transformer,
    "PositionedLetters": translation.positioned_letters,
    "MultiHeadedEncoder": translation.multi_headed_encoder,
    "MultiHeadedDecoder": translation.multi_headed_decoder,
    "Translator": translation.translator,
    "DecoderOnlyTranslator": translation.decoder_only_translator,
    "NonlinearProjection": gpt.nonlinear_projection,
    "MLPProjection": gpt.mlp_projection,
    "AttentionFree": gpt.attention_free,
    "SimpleAttentionFree": gpt.attention_free_simple,
    "RandomFeatureAttention": gpt.random_feature_attention,
    "pairwise_similarities": attention.pairwise_similarities,
    "attn_scaled": attention.attn_scaled,
    "attn_softmax": attention.attn_softmax,
    "compute_outputs": attention.compute_outputs,
    "make_causal_mask": attention.make_causal_mask,
    "apply_causal_mask": attention.apply_causal_mask,
    "masked_softmax": attention.masked_softmax,
    "split_heads": attention.split_heads,
    "merge_heads": attention.merge_heads,
    "split_heads_qkv": attention.split_heads_qkv,
    "self_attention": attention.self_attention,
    "low_rank_attention": efficient_attention.low_rank_attention,
    "projected_attention": efficient_attention.projected_attention,
    "cross_entropy": losses.cross_entropy,
    "predicted_classes": losses.predicted_classes,
    "weighted_mean": losses.weighted_mean,
}


def evaluate(name: str, weights: ArrayMapping, inputs: ArrayMapping, options: Options) -> Values:
    """Outputs, and the gradients of sum(output * cotangent) with respect to all weights and float inputs."""
    twin = find_twin(name)
    parameters = {key: torch.from_numpy(array).requires_grad_() for key, array in weights.items()}
    given = {key: _as_input(array) for key, array in inputs.items()}
    read = Weights(parameters, options.dropout_key if options.train else None)
    outputs = flat_outputs(FORMULAS[twin.public_name](read, twin.arguments, **given))
    floats = {f"input {key}": tensor for key, tensor in given.items() if tensor.requires_grad}
    found = _gradients(outputs, {**floats, **parameters}, options)
    return Values(
        outputs={key: output.detach().numpy() for key, output in outputs.items()},
        input_gradients={key: found[key] for key in floats},
        parameter_gradients={key: found[key] for key in parameters},
    )


def _as_input(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.requires_grad_(tensor.is_floating_point())


def _gradients(outputs: Mapping[str, Tensor], sources: Mapping[str, Tensor], options: Options) -> Arrays:
    smooth = {key: output for key, output in outputs.items() if output.requires_grad}
    if not smooth:
        return {key: np.zeros(tensor.shape) for key, tensor in sources.items()}
    by = [torch.from_numpy(cotangent(k, tuple(o.shape), np.dtype("float64"), options)) for k, o in smooth.items()]
    found = torch.autograd.grad(list(smooth.values()), list(sources.values()), by, materialize_grads=True)
    return {key: gradient.numpy() for key, gradient in zip(sources, found, strict=True)}
