//! Where the rows of a packed tensor come from.

/// How rows of a source tensor become rows of a packed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// As they are. Leading dimensions of 1 in the checkpoint (`[1, 1, 768]`) do not count.
    Rows,
    /// A convolution kernel [n, channels, side, side]: each row from (channel, row, column) to (row, column, channel).
    Convolution {
        /// Side of the kernel.
        side: usize,
    },
    /// A matrix stored as inputs × outputs: its columns become rows.
    Transposed,
    /// Every element times the square root of this number.
    TimesRoot(u32),
    /// The vector `rows · input + bias`: a linear layer whose input never changes is computed once, here.
    Applied {
        /// The vector that it is applied to.
        input: String,
        /// Its bias, if it has one: elements from `bias_row` on.
        bias: Option<(String, usize)>,
    },
}

/// Rows of a checkpoint's tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All rows of this tensor.
    Tensor(String),
    /// As many rows as the other parts have, from this one on, of a tensor that has more (a packed `in_proj`).
    Slice(String, usize),
    /// Zeros: a bias that the checkpoint leaves out.
    Zeros,
    /// Sines, then cosines of positions from this one on, as tensor2tensor has them: row p, column j < k/2 of the first
    /// half is `sin(p · 10000^(−j/(k/2 − 1)))`.
    Sinusoids(u32),
}

impl Part {
    /// The tensor's name, if there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Part::Tensor(name) | Part::Slice(name, _) => Some(name),
            Part::Zeros | Part::Sinusoids(_) => None,
        }
    }
}

/// A batch norm after a layer, with the statistics of training: `(y − running_mean) · weight / √(running_var + eps) +
/// bias`. Both are one layer: its rows are scaled, and its bias is the norm's, less the scaled mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchNorm {
    /// What stands before the names of its tensors.
    pub module: String,
}

impl BatchNorm {
    /// PyTorch's default.
    pub const EPS: f64 = 1e-5;

    /// Its tensors: factor, variance and mean.
    pub fn names(&self) -> [String; 3] {
        ["weight", "running_var", "running_mean"].map(|end| format!("{}.{end}", self.module))
    }
}

/// Where a demanded tensor comes from: the rows of these parts, one after the other.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The parts; all have the same number of rows.
    pub parts: Vec<Part>,
    /// What happens to each row.
    pub transform: Transform,
    /// A vector with a factor for every row: layer scale.
    pub scale: Option<String>,
    /// A table whose first row is added to every row: BERT's token types.
    pub plus: Option<String>,
    /// The batch norm that is folded in.
    pub batch_norm: Option<BatchNorm>,
}

impl Origin {
    /// The rows of these tensors as they are.
    pub fn rows(names: impl IntoIterator<Item = impl Into<String>>) -> Origin {
        let parts = names.into_iter().map(|name| Part::Tensor(name.into())).collect();
        Origin { parts, transform: Transform::Rows, scale: None, plus: None, batch_norm: None }
    }

    /// The same with another transform.
    pub fn with(self, transform: Transform) -> Origin {
        Origin { transform, ..self }
    }

    /// The same with every row multiplied by its element of the tensor `name`.
    pub fn scaled(self, name: impl Into<String>) -> Origin {
        Origin { scale: Some(name.into()), ..self }
    }

    /// The same with the first row of the table `name` added to every row.
    pub fn plus(self, name: impl Into<String>) -> Origin {
        Origin { plus: Some(name.into()), ..self }
    }

    /// The same with a batch norm folded in.
    pub fn normed(self, module: impl Into<String>) -> Origin {
        Origin { batch_norm: Some(BatchNorm { module: module.into() }), ..self }
    }

    /// The same of a model whose tensors all have `prefix` before their names.
    pub fn within(mut self, prefix: &str) -> Origin {
        let named = |name: &mut String| name.insert_str(0, prefix);
        for part in &mut self.parts {
            if let Part::Tensor(name) | Part::Slice(name, _) = part {
                named(name);
            }
        }
        if let Transform::Applied { input, bias } = &mut self.transform {
            named(input);
            bias.iter_mut().for_each(|(name, _)| named(name));
        }
        self.scale.iter_mut().chain(&mut self.plus).for_each(named);
        self.batch_norm.iter_mut().for_each(|norm| named(&mut norm.module));
        self
    }

    /// Every tensor of the checkpoint that goes into it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let (input, bias) = match &self.transform {
            Transform::Applied { input, bias } => (Some(input), bias.as_ref().map(|(name, _)| name)),
            _ => (None, None),
        };
        let others = [input, bias, self.scale.as_ref(), self.plus.as_ref()].into_iter().flatten().cloned();
        let norm = self.batch_norm.iter().flat_map(BatchNorm::names);
        self.parts.iter().filter_map(Part::name).map(String::from).chain(others).chain(norm)
    }
}
