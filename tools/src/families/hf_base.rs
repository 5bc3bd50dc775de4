//! The configuration of a text tower that a checkpoint names and does not describe: open_clip's `hf_model_name` and
//! M-CLIP's `modelBase` are what `AutoConfig.from_pretrained` gets, a repository or a folder.

use crate::source::read_json;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What the configurations of well-known repositories say: the name without its owner, `model_type`, widths of tokens and
/// MLP, layers, heads, vocabulary.
const KNOWN: [(&str, &str, [u32; 5]); 12] = [
    ("xlm-roberta-base", "xlm-roberta", [768, 3072, 12, 12, 250_002]),
    ("xlm-roberta-large", "xlm-roberta", [1024, 4096, 24, 16, 250_002]),
    ("roberta-base", "roberta", [768, 3072, 12, 12, 50_265]),
    ("roberta-large", "roberta", [1024, 4096, 24, 16, 50_265]),
    ("bert-base-uncased", "bert", [768, 3072, 12, 12, 30_522]),
    ("bert-base-cased", "bert", [768, 3072, 12, 12, 28_996]),
    ("bert-large-uncased", "bert", [1024, 4096, 24, 16, 30_522]),
    ("bert-base-multilingual-cased", "bert", [768, 3072, 12, 12, 119_547]),
    ("bert-base-chinese", "bert", [768, 3072, 12, 12, 21_128]),
    ("LaBSE", "bert", [768, 3072, 12, 12, 501_153]),
    ("nllb-200-distilled-600M", "m2m_100", [1024, 4096, 12, 16, 256_206]),
    ("nllb-200-distilled-1.3B", "m2m_100", [1024, 8192, 24, 16, 256_206]),
];

/// The configuration of the model `name`, which stands at `key` of the file `path`, and the file that it is in: the first
/// `config.json` of one of `kinds` in the folder of that name in `checkpoint`, in `tokenizer`, or in `checkpoint` itself;
/// or else what is known of that name.
pub(super) fn configuration(
    (name, key, path): (&str, &str, &Path),
    checkpoint: &Path,
    tokenizer: &Path,
    kinds: &[&str],
) -> Result<(Value, PathBuf)> {
    let base = name.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(name);
    let folders =
        [checkpoint.join(if base == ".." { "." } else { base }), tokenizer.into(), checkpoint.into()];
    for file in folders.map(|folder| folder.join("config.json")) {
        if file.exists() {
            let json = read_json(&file)?;
            if json["model_type"].as_str().is_some_and(|kind| kinds.contains(&kind)) {
                return Ok((json, file));
            }
        }
    }
    let mut known = KNOWN.iter().filter(|(_, kind, _)| kinds.contains(kind));
    let names = known.clone().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
    let Some((_, kind, [width, mlp, layers, heads, vocab])) = known.find(|(known, ..)| *known == base) else {
        let problem = format!(
            "is {name:?}, of which nothing is known here (known: {names}): put that model's config.json into a folder \
             {base:?} beside the weights; supported are those whose model_type is {}",
            kinds.join(", ")
        );
        return Err(Error::field(path, key, problem));
    };
    if *kind == "m2m_100" {
        let json = json!({
            "model_type": kind, "d_model": width, "encoder_ffn_dim": mlp, "encoder_layers": layers,
            "encoder_attention_heads": heads, "vocab_size": vocab,
        });
        return Ok((json, path.to_path_buf()));
    }
    let roberta = kind.ends_with("roberta");
    let json = json!({
        "model_type": kind, "hidden_size": width, "intermediate_size": mlp, "num_hidden_layers": layers,
        "num_attention_heads": heads, "vocab_size": vocab, "hidden_act": "gelu",
        "max_position_embeddings": if roberta { 514 } else { 512 },
        "type_vocab_size": if roberta { 1 } else { 2 }, "pad_token_id": u32::from(roberta),
        "layer_norm_eps": if roberta { 1e-5 } else { 1e-12 },
    });
    Ok((json, path.to_path_buf()))
}
