//! Pictures are decoded and preprocessed on other threads while the one before is encoded.

use crate::console::{Console, ms_since};
use crate::inputs::Input;
use ocelli::encoder::Frame;
use ocelli::preprocess::decode::{DecodedImage, Options};
use ocelli::{ImageEncoder, Preprocessor, Result};
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
    /// What the model sees of it, and the milliseconds that making it took, where a preprocessor was there.
    frame: Option<(Frame, f64)>,
}

impl Decoded {
    /// Reads and decodes a picture, and makes its frame if there is a preprocessor for it.
    fn new(input: Input, options: &Options, preprocessor: Option<&mut Preprocessor>) -> Result<Decoded> {
        let start = Instant::now();
        let image = input.decode(options)?;
        let (ms, start) = (ms_since(start), Instant::now());
        let mut frame = None;
        if let Some(preprocessor) = preprocessor {
            let mut made = preprocessor.frame();
            let result = preprocessor.preprocess(&image.view(), &mut made);
            result.map_err(|error| error.in_file(input.path()))?;
            frame = Some((made, ms_since(start)));
        }
        Ok(Decoded { input, image, ms, frame })
    }

    /// Brings the picture's frame into `encoder`, and gives the milliseconds that making it took.
    pub(crate) fn preprocess(&self, encoder: &mut ImageEncoder) -> Result<f64> {
        if let Some((frame, ms)) = &self.frame {
            return encoder.set_frame(0, frame).map(|()| *ms);
        }
        let start = Instant::now();
        encoder.preprocess(&[self.image.view()])?;
        Ok(ms_since(start))
    }
}

/// Preprocessors for all decoders, that make the frames of `encoder`.
pub(crate) fn preprocessors(encoder: &ImageEncoder) -> Vec<Preprocessor> {
    (0..DECODERS).map(|_| encoder.preprocessor()).collect()
}

/// Calls `each` with every one of `inputs`, decoded, in their order; what was wrong with a picture goes to `console` first.
/// With [`preprocessors`] frames are made ahead too, unless there is only one picture, for which the encoder's own threads
/// have nothing else to do.
///
/// # Errors
/// The first of `each`, after which no more is read.
pub(crate) fn each_decoded<E>(
    inputs: Vec<Result<Input>>,
    options: &Options,
    preprocessors: &mut [Preprocessor],
    console: &Console,
    mut each: impl FnMut(Result<Decoded>) -> Result<(), E>,
) -> Result<(), E> {
    let mut take = |decoded: Result<Decoded>| {
        if let Ok(Decoded { input, image, .. }) = &decoded {
            for problem in image.warnings() {
                console.warn(format_args!("{}: {problem}", input.path().display()));
            }
        }
        each(decoded)
    };
    if inputs.len() == 1 {
        return inputs
            .into_iter()
            .try_for_each(|input| take(input.and_then(|input| Decoded::new(input, options, None))));
    }
    // Dealt out in turn, so that they come back in order from one decoder after the other.
    let mut hands: [Vec<Result<Input>>; DECODERS] = Default::default();
    let count = inputs.len();
    for (i, input) in inputs.into_iter().enumerate() {
        hands[i % DECODERS].push(input);
    }
    thread::scope(|scope| {
        let mut preprocessors = preprocessors.iter_mut();
        let decoders = hands.map(|hand| {
            let mut preprocessor = preprocessors.next();
            // Without room: a decoder keeps its picture until it is asked for.
            let (give, taken) = sync_channel(0);
            let work = move || {
                for input in hand {
                    let decoded =
                        input.and_then(|input| Decoded::new(input, options, preprocessor.as_deref_mut()));
                    if give.send(decoded).is_err() {
                        // Nobody takes it: nothing more is wanted.
                        break;
                    }
                }
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
