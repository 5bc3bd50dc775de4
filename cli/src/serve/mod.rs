//! `ocelli serve`

mod batches;
mod engine;
mod guard;
mod intake;
mod listen;
mod metrics;
#[cfg(feature = "index")]
mod photos;
mod pictures;
mod problem;
mod registry;
mod routes;
mod service;
mod start;
#[cfg(feature = "index")]
mod thumbnails;
mod upstream;
mod worker;

use crate::console::{Console, Failure};
use clap::builder::RangedU64ValueParser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Answer requests over HTTP: classify, embed, and what photo servers ask for.
///
/// Speaks the dialects of Immich's machine learning service (/predict), of OpenAI's and Infinity's embeddings
/// (/v1/embeddings), of llama.cpp's server as Frigate uses it (/embeddings) and of Roboflow's inference server (/clip/...),
/// and its own (/classify, /embed), which /openapi.json describes. There is a page for people at /. With --index it finds
/// photos of an index by words and by pictures (/search) and shows them small (/thumbnail/ID), on the page too.
///
/// The address is printed on stdout when the server is ready, and one line per request on stderr. SIGTERM and SIGINT end it
/// when what runs is finished; SIGHUP closes the models, so that files that were replaced are opened anew.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen. Only this machine reaches 127.0.0.1; 0.0.0.0:3003 is open to the network, unencrypted
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3003")]
    listen: SocketAddr,
    /// A model, and the name that requests give it [default: the file's name without its ending]; may be given several
    /// times. Requests that name no model get the first [default: the demo model, as for other commands]
    #[arg(long, short, value_name = "[NAME=]FILE")]
    model: Vec<PathBuf>,
    /// Serve every .ocelli file in this folder too
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// A label bank for /classify, made by `ocelli labels`; may be given several times
    #[arg(long, value_name = "[NAME=]FILE")]
    bank: Vec<PathBuf>,
    /// Search the photos of this index, made by `ocelli index` [default of FOLDER: as for `ocelli index`]. Whoever may ask
    /// sees their paths and thumbnails. Without --model and --models, the model that made it is served
    #[cfg(feature = "index")]
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    index: Option<Option<PathBuf>>,
    /// Another server that speaks Immich's dialect: it gets the tasks (faces, text recognition) and models that are not
    /// served here, as in http://immich-machine-learning:3003
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Only serve clients that know one of the keys in this file, one per line
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Let pages of this site ask, as in https://photos.example; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    cors: Vec<String>,
    /// Threads that encode [default: as for other commands]
    #[arg(long, short, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=ocelli::runtime::MAX_THREADS as u64))]
    threads: Option<usize>,
    /// Pictures that are decoded at the same time, on threads of their own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    decoders: usize,
    /// Most pictures that are encoded at once; how many really are is measured while the server runs
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    batch: usize,
    /// Close models that were not used for so long; they are opened again when they are needed
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    idle_unload: Option<u64>,
    /// Requests that are worked on or wait; more are refused with 503
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    queue: usize,
    /// Connections at the same time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    connections: usize,
    /// Largest request, in MB; four times as much are held for all requests together
    #[arg(long, value_name = "MB", default_value_t = 32, value_parser = RangedU64ValueParser::<usize>::new().range(1..=4096))]
    max_body: usize,
    /// How long a request may take until it is answered; a quarter of that is for its arrival
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Embeddings of texts that are kept, for each model
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    text_cache: usize,
    /// How photos are resized
    #[arg(long, value_enum, default_value_t = crate::args::Resize::Exact)]
    resize: crate::args::Resize,
    /// Print the address, and log, as JSON: one object per line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, quiet: bool, console: &Console) -> Result<ExitCode, Failure> {
    start::run(args, quiet, console)
}
