//! Pictures are decoded on other threads while the one before is encoded.

use crate::console::{Console, ms_since};
use crate::inputs::Input;
use ocelli::Result;
use ocelli::preprocess::decode::{DecodedImage, Options};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

/// Threads that decode. Each has at most one picture, so no more than one more are in memory at once: a picture of
/// 12 megapixels takes 36 MB.
const DECODERS: usize = 2;

/// A picture that was read.
pub(crate) struct Decoded {
    pub(crate) input: Input,
    pub(crate) image: DecodedImage,
    /// Milliseconds that reading and decoding took.
    pub(crate) ms: f64,
}

/// Calls `each` with every one of `inputs`, decoded, in their order; what was wrong with a picture goes to `console` first.
///
/// # Errors
/// The first of `each`, after which no more is read.
pub(crate) fn each_decoded<E>(
    inputs: Vec<Result<Input>>,
    options: &Options,
    console: &Console,
    mut each: impl FnMut(Result<Decoded>) -> Result<(), E>,
) -> Result<(), E> {
    let decode = |input: Result<Input>| {
        let start = Instant::now();
        let input = input?;
        let image = input.decode(options)?;
        Ok(Decoded { input, image, ms: ms_since(start) })
    };
    let mut take = |decoded: Result<Decoded>| {
        if let Ok(Decoded { input, image, .. }) = &decoded {
            for problem in image.warnings() {
                console.warn(format_args!("{}: {problem}", input.path().display()));
            }
        }
        each(decoded)
    };
    if inputs.len() == 1 {
        return inputs.into_iter().map(decode).try_for_each(take);
    }
    // Dealt out in turn, so that they come back in order from one decoder after the other.
    let mut hands: [Vec<Result<Input>>; DECODERS] = Default::default();
    let count = inputs.len();
    for (i, input) in inputs.into_iter().enumerate() {
        hands[i % DECODERS].push(input);
    }
    thread::scope(|scope| {
        let decoders = hands.map(|hand| {
            // Without room: a decoder keeps its picture until it is asked for.
            let (give, taken) = sync_channel(0);
            let work = move || {
                // If nobody takes it, nothing more is wanted.
                hand.into_iter().map(decode).try_for_each(|decoded| give.send(decoded))
            };
            scope.spawn(work);
            taken
        });
        for i in 0..count {
            match decoders[i % DECODERS].recv() {
                Ok(decoded) => take(decoded)?,
                // It panicked; the scope passes that on.
                Err(_) => break,
            }
        }
        Ok(())
    })
}
