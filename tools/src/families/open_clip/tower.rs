//! What each kind of tower says of itself, and what open_clip's own towers have in common.

use crate::families::IgnoreReason;
use crate::families::origin::Origin;

/// A tower that was understood.
pub(super) struct Tower<C> {
    /// What it is.
    pub(super) config: C,
    /// Where a tensor comes from, by what follows `vision.` or `text.` in its canonical name.
    pub(super) origin: Box<dyn Fn(&str) -> Origin>,
    /// Why a tensor of the checkpoint may be left out, by its whole name.
    pub(super) ignore: Box<IgnoreReason>,
}

/// Where a tensor of a tower of open_clip's own class comes from. `prefix` stands before the names of its tensors;
/// `scaled`: it has layer scale. `outside` knows the parts that are not in blocks, by their name and what follows it.
pub(super) fn origin(
    rest: &str,
    prefix: &str,
    scaled: bool,
    outside: impl FnOnce(&str, &str) -> Origin,
) -> Origin {
    let (module, end) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let Some((block, part)) = module.rsplit_once('.') else { return outside(module, end) };
    let block = block.replacen("block", "transformer.resblocks", 1);
    let (name, scale) = match part {
        "norm1" => (format!("ln_1.{end}"), None),
        "norm2" => (format!("ln_2.{end}"), None),
        "qkv" => (format!("attn.in_proj_{end}"), None),
        "out" => (format!("attn.out_proj.{end}"), Some("ls_1.gamma")),
        "fc1" => (format!("mlp.c_fc.{end}"), None),
        _ => (format!("mlp.c_proj.{end}"), Some("ls_2.gamma")),
    };
    let origin = Origin::rows([format!("{prefix}{block}.{name}")]);
    match scale.filter(|_| scaled) {
        Some(scale) => origin.scaled(format!("{prefix}{block}.{scale}")),
        None => origin,
    }
}
