//! A model ready to run: kernels chosen, threads started, all memory taken.

mod any_res;
mod buffers;
mod classes;
mod dimensions;
mod encode;
mod image;
mod text;

use crate::error::{Error, Result};
use crate::format::{Bank, Config};
use crate::model::{Model, TextWeights, VisionWeights};
use crate::preprocess::{Levels, Resizer};
use crate::profile::Profile;
use crate::runtime::{Arena, Plan, Team};
use crate::{knobs, score};
use buffers::{Buffers, Dimensions};
use ocelli_kernels::{Isa, Kernels};
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// What a session is made for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads, the calling one included.
    pub threads: usize,
    /// Instruction sets to use.
    pub isa: Isa,
    /// Most images in one call of [`Session::embed_batch_into`].
    pub batch: usize,
    /// Height and width of the image that the model sees, instead of those in the file: positions are interpolated as
    /// the model's family does it, when the session is made.
    pub image_size: Option<(u32, u32)>,
    /// Plan for the image tower, if the model has one.
    pub vision: bool,
    /// Plan for the text tower, if the model has one.
    pub text: bool,
}

impl Default for Options {
    /// One image at a time on one thread with all instruction sets of this CPU; both towers.
    fn default() -> Options {
        Options { threads: 1, isa: Isa::detect(), batch: 1, image_size: None, vision: true, text: true }
    }
}

impl Options {
    /// One image at a time on all CPUs with all instruction sets, unless the [`knobs`] say otherwise.
    ///
    /// # Errors
    /// A knob has an unusable value.
    pub fn from_environment() -> Result<Options> {
        Ok(Options { threads: knobs::threads()?, isa: knobs::isa()?, ..Options::default() })
    }
}

/// A model ready to run.
///
/// All memory is taken by [`Session::new`]; embedding an image afterwards allocates nothing, on any thread.
pub struct Session<'m> {
    config: &'m Config,
    kernels: Kernels,
    team: Team,
    vision: Option<VisionWeights<'m>>,
    text: Option<TextWeights<'m>>,
    dimensions: Dimensions,
    plan: Plan,
    arena: Arena,
    levels: Box<Levels>,
    resizer: Option<Resizer>,
    /// Rows and columns of patches in each frame.
    grids: Vec<(usize, usize)>,
    profile: Profile,
}

impl<'m> Session<'m> {
    /// Plans the memory for `model`, takes it, and starts the threads.
    ///
    /// # Errors
    /// The memory or a thread can't be had, or the options leave nothing to run.
    pub fn new(model: &'m Model, options: &Options) -> Result<Session<'m>> {
        let file = model.file();
        let config = file.config();
        let vision = (options.vision && file.has_vision()).then(|| VisionWeights::new(file)).transpose()?;
        let text = (options.text && file.has_text()).then(|| TextWeights::new(file)).transpose()?;
        if vision.is_none() && text.is_none() {
            return Err(Error::Message("the model has no tower that this session was asked for".into()));
        }
        if options.batch == 0 {
            return Err(Error::Message("a batch of 0 images; 1 or more are possible".into()));
        }
        let kernels = Kernels::new(options.isa);
        let dimensions = dimensions::of(config, vision.as_ref(), text.as_ref(), &kernels, options)?;
        let plan = dimensions.plan();
        let arena = Arena::new(plan.bytes())?;
        let mut session = Session {
            config,
            kernels,
            team: Team::new(options.threads)?,
            resizer: dimensions
                .vision
                .as_ref()
                .and_then(|vision| vision.resize)
                .map(|plan| Resizer::new(plan, kernels)),
            grids: vec![dimensions.vision.as_ref().map_or((0, 0), |vision| vision.grid); options.batch],
            levels: Box::new(crate::preprocess::normalization_levels(&config.preprocess)),
            vision,
            text,
            dimensions,
            plan,
            arena,
            profile: Profile::default(),
        };
        session.fill_positions();
        Ok(session)
    }

    /// Every buffer of the session.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The kernels in use.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// The threads.
    pub(crate) fn team(&self) -> &Team {
        &self.team
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Length of an embedding.
    pub fn embed_dim(&self) -> usize {
        self.dimensions.embed_dim
    }

    /// Where the time went since the session was made, or since the profile was cleared.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// Scores the normalised `embedding` against every label of `bank` into `out` (one element per label), best first.
    ///
    /// # Errors
    /// The bank was made with another checkpoint.
    pub fn score(&self, embedding: &[f32], bank: &Bank<'_>, out: &mut [score::Scored]) -> Result<()> {
        bank.check_fits(self.config)?;
        score::score(&self.config.score, embedding, bank, out);
        Ok(())
    }

    /// The session's parts for one forward pass, borrowed apart from each other.
    fn parts(&mut self) -> Parts<'_, 'm> {
        let buffers = Dimensions::carve(&self.plan, self.arena.bytes_mut());
        Parts {
            config: self.config,
            kernels: &self.kernels,
            team: &self.team,
            vision: self.vision.as_ref(),
            text: self.text.as_ref(),
            dimensions: &self.dimensions,
            levels: &self.levels,
            resizer: &mut self.resizer,
            grids: &mut self.grids,
            profile: &mut self.profile,
            buffers,
        }
    }
}

struct Parts<'s, 'm> {
    config: &'m Config,
    kernels: &'s Kernels,
    team: &'s Team,
    vision: Option<&'s VisionWeights<'m>>,
    text: Option<&'s TextWeights<'m>>,
    dimensions: &'s Dimensions,
    levels: &'s Levels,
    resizer: &'s mut Option<Resizer>,
    grids: &'s mut [(usize, usize)],
    profile: &'s mut Profile,
    buffers: Buffers<'s>,
}

/// The tools of a forward pass from a session's parts.
macro_rules! forward {
    ($parts:ident, $tap:expr) => {
        Forward {
            tap: $tap,
            kernels: $parts.kernels,
            team: $parts.team,
            profile: $parts.profile,
            scratch: $parts.buffers.scratch,
            rows: $parts.buffers.rows,
        }
    };
}
use forward;

/// The result must fit exactly where it goes.
fn check_len(expected: usize, out: &[f32]) -> Result<()> {
    if out.len() == expected {
        return Ok(());
    }
    Err(Error::Message(std::format!("room for {} values; {expected} are written", out.len())))
}

/// Refuses an embedding that would give every label a meaningless score.
fn check_finite(embedding: &[f32]) -> Result<()> {
    if embedding.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::Message(
        "the embedding has values that are no numbers: the model's weights are damaged (check them with ocelli-pack \
         verify), or the input was not finite"
            .into(),
    ))
}

impl core::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session")
            .field("kernels", &self.kernels)
            .field("threads", &self.threads())
            .field("arena", &self.plan.bytes())
            .finish_non_exhaustive()
    }
}
