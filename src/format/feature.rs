//! Optional parts of a tower, one bit each in [`TowerConfig::features`](super::TowerConfig::features).
//!
//! A set bit demands the tensors that the [part table](super::parts) names for it, a clear one forbids them, and a bit
//! that the table does not use for a tower is an error: so a later family takes a new bit and, for its numbers, reserved
//! words, and needs no new version of the format.

/// `qkv.bias`
pub const QKV_BIAS: u32 = 1 << 0;
/// `out.bias`
pub const OUT_BIAS: u32 = 1 << 1;
/// `fc1.bias` and `fc2.bias`
pub const MLP_BIAS: u32 = 1 << 2;
/// `final_norm.*`
pub const FINAL_NORM: u32 = 1 << 3;
/// `project.weight`
pub const PROJECT: u32 = 1 << 4;
/// `project.bias`
pub const PROJECT_BIAS: u32 = 1 << 5;
/// `patch_embed.bias` (image tower)
pub const PATCH_BIAS: u32 = 1 << 6;
/// `pre_norm.*`: a norm of the tokens with their positions, before the first block (CLIP's image tower, BERT)
pub const PRE_NORM: u32 = 1 << 7;
/// `class_token` (image tower)
pub const CLASS_TOKEN: u32 = 1 << 8;
/// `pool_norm.*`: a norm of the pooled vector (EVA's `fc_norm`; image tower)
pub const POOL_NORM: u32 = 1 << 9;
/// `fc1` is twice as tall, gate rows, then value rows: `fc2(act(gate) · value)` (SwiGLU)
pub const GATED_MLP: u32 = 1 << 10;
/// `mlp_norm.*`: a norm of what `fc2` reads (EVA-02 base and large)
pub const MLP_NORM: u32 = 1 << 11;
/// `patch_norm.*`: a norm of each patch's pixels before the patch embedding (SimpleViT; image tower)
pub const PATCH_NORM: u32 = 1 << 12;
/// `embed_norm.*`: a norm of each patch's embedding, before positions are added (SimpleViT; image tower)
pub const EMBED_NORM: u32 = 1 << 13;
/// `classifier.*`: the pooled vector to class logits (image tower)
pub const CLASSIFIER: u32 = 1 << 14;
/// The norms of a block follow its residual sums, as in BERT: `x = norm1(x + out(attention(qkv x)))`, then
/// `x = norm2(x + fc2(act(fc1 x)))` (text tower)
pub const POST_NORM: u32 = 1 << 15;
/// `pooler.*`: a linear layer and tanh between pooled vector and projection (BERT, ViT)
pub const POOLER: u32 = 1 << 16;
/// `attention_norm.*`: a norm of what `out` reads, all heads together (EVA-02-CLIP base and large)
pub const ATTENTION_NORM: u32 = 1 << 17;
/// `patch_stem1.*`, `patch_stem2.*`: a patch is embedded in three layers, from sixteen squares to four to one
/// (MobileCLIP-B; image tower)
pub const PATCH_STEM: u32 = 1 << 18;
/// No `position`: attention's scores fall with the distance of the tokens instead, in each head by its own slope (ALiBi,
/// arXiv 2108.12409; Jina-CLIP's text tower)
pub const ALIBI: u32 = 1 << 19;

/// Every bit with its name in reports.
pub const NAMES: [(u32, &str); 20] = [
    (QKV_BIAS, "qkv bias"),
    (OUT_BIAS, "out bias"),
    (MLP_BIAS, "mlp bias"),
    (FINAL_NORM, "final norm"),
    (PROJECT, "project"),
    (PROJECT_BIAS, "project bias"),
    (PATCH_BIAS, "patch bias"),
    (PRE_NORM, "pre norm"),
    (CLASS_TOKEN, "class token"),
    (POOL_NORM, "pool norm"),
    (GATED_MLP, "gated mlp"),
    (MLP_NORM, "mlp norm"),
    (PATCH_NORM, "patch norm"),
    (EMBED_NORM, "embed norm"),
    (CLASSIFIER, "classifier"),
    (POST_NORM, "post norm"),
    (POOLER, "pooler"),
    (ATTENTION_NORM, "attention norm"),
    (PATCH_STEM, "patch stem"),
    (ALIBI, "alibi"),
];

/// The names of the bits that are set in `features`.
pub fn names(features: u32) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().filter(move |(bit, _)| features & bit != 0).map(|(_, name)| name)
}
