//! What a model can be asked for.

/// Which of its vectors a model gives for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// One vector per patch after the final norm, in the order of the grid: dense features.
    Patch,
    /// The class token after the final norm.
    Class,
    /// What the projection or the classifier reads.
    Pooled,
    /// The embedding: after the projection, if there is one.
    Projected,
}

impl Layer {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Layer::Patch => "patch",
            Layer::Class => "cls",
            Layer::Pooled => "pooled",
            Layer::Projected => "projected",
        }
    }
}
