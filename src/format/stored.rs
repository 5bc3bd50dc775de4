//! The enums of a [configuration](super::config): each is stored as a `u32`, whose value 0 means "absent".

/// Declares an enum that is stored as a `u32`, with its names for people.
macro_rules! stored_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum $name { $($(#[$vdoc])* $variant = $value),+ }

        impl $name {
            /// The variant stored as `value`, if there is one.
            pub const fn from_stored(value: u32) -> Option<Self> {
                match value { $($value => Some($name::$variant),)+ _ => None }
            }

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

stored_enum! {
    /// The activation function of an MLP.
    Act {
        /// `x · sigmoid(1.702 x)`
        QuickGelu = 1 "quick_gelu",
        /// `x/2 · (1 + erf(x/√2))`
        Gelu = 2 "gelu",
        /// GELU by tanh.
        GeluTanh = 3 "gelu_tanh",
        /// `x · sigmoid(x)`
        Silu = 4 "silu",
        /// `max(x, 0)`
        Relu = 5 "relu",
    }
}

stored_enum! {
    /// What is added to the patches to say where they are.
    Position {
        /// A learned table, `position`, [prefix tokens that have one + grid, width].
        Learned = 1 "learned",
        /// Nothing is added (rotary models without learned positions).
        None = 2 "none",
        /// Fixed 2-D sine-cosine of vit-pytorch's `SimpleViT`: computed for the grid, not stored.
        SinCos = 3 "sine-cosine",
        /// Fixed 2-D sine-cosine of MAE, for a checkpoint that does not store it.
        SinCosMae = 4 "sine-cosine (MAE)",
        /// RetinaViT: patches of an image pyramid; a learned table for the finest level, scaled averages of it for the
        /// others (arXiv 2403.13677).
        ScaledAverage = 5 "scaled average of a pyramid",
    }
}

stored_enum! {
    /// How queries and keys of the patches are rotated. Prefix tokens never are.
    Rope {
        /// DINOv3: patch centres in -1..1, row then column frequencies, channel d paired with d + head_dim/2.
        Centred = 1 "patch centres, rotate half",
        /// EVA-02 (timm): patch indices, row then column frequencies, neighbouring channels paired.
        Interleaved = 2 "patch indices, interleaved",
        /// Perception Encoder: as EVA-02, but column before row frequencies, and indices start at 1 if there is a class
        /// token, which has 0.
        ColumnsFirst = 3 "patch indices after the class token, columns first, interleaved",
    }
}

stored_enum! {
    /// How a learned table is resampled to another grid.
    Interpolation {
        /// Bicubic, a = −0.75, no antialias (Hugging Face).
        Bicubic = 1 "bicubic",
        /// Bicubic, a = −0.5, antialias (timm, open_clip).
        BicubicAntialias = 2 "bicubic antialias",
        /// Bilinear, antialias (SigLIP 2 NaFlex).
        BilinearAntialias = 3 "bilinear antialias",
        /// The model cannot run at another size.
        Fixed = 4 "fixed",
        /// There is no table: positions are computed for whatever grid there is.
        Computed = 5 "computed",
    }
}

stored_enum! {
    /// How the tokens of the last block become one vector.
    Pooling {
        /// Token 0, after the final norm: the class token; of a text the one that begins it.
        Class = 1 "class token",
        /// Mean of the patch tokens.
        MeanPatches = 2 "mean of patches",
        /// Mean of all tokens.
        MeanAll = 3 "mean of all tokens",
        /// Attention with a learned query (SigLIP).
        AttentionHead = 4 "attention head",
        /// Text: the first token with the id `eos`.
        FirstEos = 5 "first end token",
        /// Text: the first token with the largest id.
        ArgMax = 6 "largest token id",
        /// Text: the last position.
        Last = 7 "last token",
    }
}

stored_enum! {
    /// How an image becomes the square (or grid) that the model sees.
    ResizeMode {
        /// Shortest side to `size`, then the centre `height` × `width`.
        ShortestCrop = 1 "shortest side, centre crop",
        /// Straight to `height` × `width`.
        Squash = 2 "squash",
        /// To the largest multiple of the patch near the picture's aspect ratio with at most `max_patches` patches
        /// (SigLIP 2 NaFlex).
        Naflex = 3 "aspect ratio kept, limited patches",
        /// Straight to `shortest` × `shortest`, then the centre `height` × `width` (DeiT).
        SquashCrop = 4 "squash, centre crop",
    }
}

stored_enum! {
    /// The resampling filter.
    Filter {
        /// Triangle.
        Bilinear = 1 "bilinear",
        /// Cubic, a = −0.5.
        Bicubic = 2 "bicubic",
    }
}

stored_enum! {
    /// Whose 8-bit arithmetic the resize follows.
    Resampler {
        /// Pillow: 22-bit coefficients.
        Pillow = 1 "Pillow",
        /// torchvision: 16-bit coefficients, horizontal pass first.
        Torchvision = 2 "torchvision",
    }
}

stored_enum! {
    /// How half a pixel of crop margin is rounded.
    CropRounding {
        /// Down (transformers).
        Down = 1 "down",
        /// To even (torchvision, open_clip, timm).
        HalfEven = 2 "half to even",
    }
}

stored_enum! {
    /// What becomes of transparency.
    Alpha {
        /// Composited on white (transformers 5).
        White = 1 "on white",
        /// Dropped (Pillow's `convert("RGB")`).
        Drop = 2 "dropped",
    }
}

stored_enum! {
    /// How similarities become scores.
    Scoring {
        /// Softmax over `logit_scale · cosine` (CLIP).
        Softmax = 1 "softmax",
        /// `sigmoid(logit_scale · cosine + logit_bias)` (SigLIP).
        Sigmoid = 2 "sigmoid",
        /// Embeddings only.
        Embedding = 3 "embedding only",
        /// Softmax over the logits of the model's own classifier.
        Classifier = 4 "classifier",
    }
}

stored_enum! {
    /// What happens to a text before the tokenizer sees it; 0 for nothing.
    Canonical {
        /// Lower case, ASCII punctuation deleted, runs of white space become one space (SigLIP).
        LowerNoPunctuation = 1 "lower case, no punctuation",
        /// Lower case (SigLIP 2 NaFlex).
        Lower = 2 "lower case",
        /// Mojibake, HTML references, ligatures, curly quotes, full-width forms and white space cleaned, lower case
        /// (open_clip).
        OpenClip = 3 "cleaned as by open_clip, lower case",
        /// The same with its capitals (open_clip with a tokenizer of Hugging Face).
        OpenClipCase = 4 "cleaned as by open_clip",
        /// The same without ASCII punctuation (open_clip's SigLIP).
        OpenClipNoPunctuation = 5 "cleaned as by open_clip, lower case, no punctuation",
    }
}

impl ResizeMode {
    /// Whether a crop follows the resize.
    pub const fn crops(self) -> bool {
        matches!(self, ResizeMode::ShortestCrop | ResizeMode::SquashCrop)
    }
}
