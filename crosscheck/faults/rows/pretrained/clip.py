"""Faults in CLIP: towers, ends of texts, patches, projections, scale and the contrastive loss."""

from crosscheck.faults.fault import Fault, alike, both_sides

FILE, PATCHES = "models/clip.py", "layers/pretrained/patch_embedding.py"
CAUSAL = "visible = attention.make_causal_mask(inputs.shape[1])"
PADDED = "visible & (mask != 0)[:, None, None, :]"
END = "inputs.argmax(1) if end_token is None"
LENGTH = {"torch": "(wide**2).sum(-1, keepdim=True).sqrt()", "jax": "jnp.sqrt((wide**2).sum(-1, keepdims=True))"}
ENDED = "x = self.norm(self.states(inputs, mask)[0][-1])"
TOKENS = "self.token_embedding(inputs) + self.position_embedding(positions)"
JOINED = "[first, patches]"
INPUT = "self.input_norm(x + self.position_embedding(positions))"
CLASS = "return x, self.norm(x[:, 0])"
LOGITS = "(images.dtype), texts, images"
SCALE = {"torch": "at_least_float32(self.logit_scale).exp()", "jax": "jnp.exp(at_least_float32(self.logit_scale[...]))"}
IMAGES = "self.visual_projection(self.vision(pixels)[1])"
LOSS = "(cross_entropy(logits, own).mean() + cross_entropy(logits.T, own).mean()) / 2"
EINSUM = '"bcypxq,ecpq->byxe"'

# fmt: off
CLIP: tuple[Fault, ...] = (
    *both_sides(
        "clip-text-sees-the-future", "mask", "texts are read in both directions", FILE,
        *alike(CAUSAL, CAUSAL.replace("= ", "= 0 == 0 * ")), "CLIPTextModel",
    ),
    *both_sides(
        "clip-text-sees-padding", "mask", "padding is not hidden", FILE,
        *alike(PADDED, "visible & (mask == mask)[:, None, None, :]"), "CLIPTextModel",
    ),
    *both_sides(
        "clip-text-not-causal-with-a-mask", "mask", "with a mask, texts are read in both directions", FILE,
        *alike(PADDED, "(visible | True) & (mask != 0)[:, None, None, :]"), "CLIPModel", "text",
    ),
    *both_sides(
        "clip-text-read-at-the-start", "model", "texts are read at their first step", FILE,
        *alike(END, f"0 * {END}"), "CLIPTextModel:highest_id",
    ),
    *both_sides(
        "clip-text-read-at-the-lowest-id", "model", "texts are read at their lowest id", FILE,
        *alike(END, END.replace("argmax", "argmin")), "CLIPTextModel:highest_id",
    ),
    *both_sides(
        "clip-text-norm-missing", "model", "the states of texts are not normalised", FILE,
        *alike(ENDED, "x = self.states(inputs, mask)[0][-1]"), "CLIPTextModel",
    ),
    *both_sides(
        "clip-text-positions-missing", "position", "tokens have no positions", FILE,
        *alike(TOKENS, "self.token_embedding(inputs) + 0 * self.position_embedding(positions)"), "CLIPTextModel",
    ),
    *both_sides(
        "clip-class-token-last", "model", "the class token follows the patches", FILE,
        *alike(JOINED, "[patches, first]"), "CLIPVisionModel",
    ),
    *both_sides(
        "clip-image-norm-missing", "model", "the embedded patches are not normalised", FILE,
        *alike(INPUT, "x + self.position_embedding(positions)"), "CLIPVisionModel",
    ),
    *both_sides(
        "clip-image-positions-after-the-norm", "position", "positions are added after the norm", FILE,
        *alike(INPUT, "self.input_norm(x) + self.position_embedding(positions)"), "CLIPVisionModel",
    ),
    *both_sides(
        "clip-pooled-patch", "model", "the first patch is pooled, not the class token", FILE,
        *alike(CLASS, CLASS.replace("0]", "1]")), "CLIPVisionModel",
    ),
    *both_sides(
        "clip-pooled-not-normalised", "model", "the pooled state is not normalised", FILE,
        *alike(CLASS, "return x, x[:, 0]"), "CLIPVisionModel",
    ),
    *both_sides(
        "clip-patches-turned", "layer", "rows and columns of a patch are exchanged", PATCHES,
        *alike(EINSUM, '"bcypxq,ecqp->byxe"'), "PatchEmbedding",
    ),
    *both_sides(
        "clip-patches-by-column", "layer", "the patches come in columns, not in rows", PATCHES,
        *alike(EINSUM, '"bcypxq,ecpq->bxye"'), "CLIPVisionModel", "patch_embedding",
    ),
    *both_sides(
        "clip-vectors-not-normalised", "model", "vectors keep their length", FILE,
        (LENGTH["torch"], "1"), (LENGTH["jax"], "1"), "CLIPModel",
    ),
    *both_sides(
        "clip-vectors-by-their-sum", "model", "vectors are divided by the sum of their sizes", FILE,
        (LENGTH["torch"], "wide.abs().sum(-1, keepdim=True)"), (LENGTH["jax"], "jnp.abs(wide).sum(-1, keepdims=True)"),
        "CLIPModel",
    ),
    *both_sides(
        "clip-scale-without-exp", "model", "the logarithm of the scale is the scale", FILE,
        (SCALE["torch"], "self.logit_scale"), (SCALE["jax"], "self.logit_scale[...]"), "CLIPModel",
    ),
    *both_sides(
        "clip-scale-without-gradient", "model", "the scale is not trained", FILE,
        (SCALE["torch"], "self.logit_scale.detach().exp()"),
        (SCALE["jax"], "jnp.exp(jax.lax.stop_gradient(self.logit_scale[...]))"),
        "CLIPModel", "", "parameter gradient",
    ),
    *both_sides(
        "clip-embeddings-exchanged", "model", "the vectors of texts are returned as those of images", FILE,
        *alike(LOGITS, "(images.dtype), texts, images * 2"), "CLIPModel",
    ),
    *both_sides(
        "clip-image-without-projection", "model", "the images' vectors lack a factor of the projection", FILE,
        *alike(IMAGES, f"self.visual_projection({IMAGES[23:-1]} ** 2)"), "CLIPModel", "",
    ),
    *both_sides(
        "clip-loss-of-images-alone", "loss", "the loss of the texts is missing", FILE,
        *alike(LOSS, "cross_entropy(logits, own).mean()"), "contrastive_loss",
    ),
    *both_sides(
        "clip-loss-summed", "loss", "the losses of both directions are added up", FILE,
        *alike(LOSS, LOSS.removesuffix(" / 2")), "contrastive_loss",
    ),
)
# fmt: on
