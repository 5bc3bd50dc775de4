//! Images to embeddings.

use crate::arguments::{check_room, read, slice, slice_mut, write};
use crate::handles::{self, Resource};
use crate::image::OcelliImage;
use crate::model::OcelliModel;
use crate::runtime::OcelliRuntime;
use crate::status::{Failure, OcelliStatus, Result, guard};
use ocelli::score::normalize;
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, knobs};
use std::sync::{Mutex, PoisonError};

/// An image tower with its memory. Calls of several threads take turns.
pub struct OcelliImageEncoder(Mutex<ImageEncoder>);

impl Resource for OcelliImageEncoder {
    const KIND: &'static str = "an image encoder";
}

/// Most images in one call.
pub const OCELLI_MAX_BATCH: u32 = 64;

/// One vector per patch, along the rows of the grid: dense features.
pub const OCELLI_LAYER_PATCH: u32 = 1;
/// The class token.
pub const OCELLI_LAYER_CLASS: u32 = 2;
/// What the projection or the classifier reads.
pub const OCELLI_LAYER_POOLED: u32 = 3;
/// The embedding.
pub const OCELLI_LAYER_PROJECTED: u32 = 4;

/// What an image encoder is made for. All zero: one image at a time, of the model's own size.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct OcelliImageOptions {
    /// Most images in one call, at most OCELLI_MAX_BATCH; 0 is 1.
    pub batch: u32,
    /// Height of the image that the model sees, in pixels; 0, with a width of 0, for its own.
    pub image_height: u32,
    /// Width of that image.
    pub image_width: u32,
}

/// An encoder as `options`, which may be null, ask for it.
///
/// # Safety
/// `options` is null or can be read.
pub(crate) unsafe fn make(
    model: *const OcelliModel,
    runtime: *const OcelliRuntime,
    options: *const OcelliImageOptions,
) -> Result<ImageEncoder> {
    let (model, runtime) = (handles::get(model)?, handles::get(runtime)?);
    let mut chosen = ImageOptions::default().limits(knobs::limits()?);
    if !options.is_null() {
        // SAFETY: the caller's promise.
        let options = unsafe { read(options, "the options") }?;
        if options.batch > OCELLI_MAX_BATCH {
            return Err(bad(format!("a batch has at most {OCELLI_MAX_BATCH} images, not {}", options.batch)));
        }
        chosen = chosen.batch(options.batch.max(1) as usize);
        chosen = match (options.image_height, options.image_width) {
            (0, 0) => chosen,
            size => chosen.image_size(Some(size)),
        };
    }
    Ok(ImageEncoder::new(&model.0, &runtime.0, &chosen)?)
}

fn bad(problem: String) -> Failure {
    Failure::new(OcelliStatus::OCELLI_BAD_ARGUMENT, problem)
}

/// Runs `work` with the encoder, when no other thread has it.
fn with<T>(
    encoder: *const OcelliImageEncoder,
    work: impl FnOnce(&mut ImageEncoder) -> Result<T>,
) -> Result<T> {
    let encoder = handles::get(encoder)?;
    let mut encoder = encoder.0.lock().unwrap_or_else(PoisonError::into_inner);
    work(&mut encoder)
}

/// Takes all memory for the image tower. `options` may be null.
///
/// # Safety
/// `options` is null or can be read; `out` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_image_encoder_new(
    model: *const OcelliModel,
    runtime: *const OcelliRuntime,
    options: *const OcelliImageOptions,
    out: *mut *mut OcelliImageEncoder,
) -> OcelliStatus {
    guard(|| {
        // SAFETY: the caller's promise.
        let encoder = unsafe { make(model, runtime, options) }?;
        // SAFETY: the caller's promise.
        unsafe { handles::give(OcelliImageEncoder(Mutex::new(encoder)), out) }
    })
}

/// Frees the handle. Null is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ocelli_image_encoder_free(encoder: *mut OcelliImageEncoder) -> OcelliStatus {
    guard(|| handles::free(encoder))
}

/// Embeds `count` images, at most the encoder's batch, and writes their embeddings, each of length 1, to `out`, which has
/// `len` = count * embed_dim elements. Allocates nothing.
///
/// # Safety
/// `images` is null or has `count` elements; `out` is null or has `len`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_image_encoder_embed(
    encoder: *const OcelliImageEncoder,
    images: *const OcelliImage,
    count: usize,
    out: *mut f32,
    len: usize,
) -> OcelliStatus {
    guard(|| {
        with(encoder, |encoder| {
            // SAFETY: the caller's promise.
            let images = unsafe { slice(images, count, "the images") }?;
            // SAFETY: the caller's promise.
            let out = unsafe { slice_mut(out, len, "the place for the embeddings") }?;
            let most = encoder.batch();
            if !(1..=most).contains(&count) {
                return Err(bad(format!("this encoder was made for 1 to {most} images, not {count}")));
            }
            check_room(count * encoder.embed_dim(), len, "the place for the embeddings")?;
            // SAFETY: the caller's promise.
            let first = unsafe { images[0].view() }?;
            let mut views = [first; OCELLI_MAX_BATCH as usize];
            for (view, image) in views.iter_mut().zip(images).skip(1) {
                // SAFETY: the caller's promise.
                *view = unsafe { image.view() }?;
            }
            Ok(encoder.embed_batch_into(&views[..count], out)?)
        })
    })
}

/// Encodes one image and writes the vectors of `layer` (OCELLI_LAYER_PATCH, ...) to `out`, which has as many elements as
/// ocelli_image_encoder_shape says: vectors * channels. With `unit` other than 0 each vector is brought to length 1.
/// Allocates nothing.
///
/// # Safety
/// `image` is null or can be read; `out` is null or has `len` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_image_encoder_encode(
    encoder: *const OcelliImageEncoder,
    image: *const OcelliImage,
    layer: u32,
    unit: i32,
    out: *mut f32,
    len: usize,
) -> OcelliStatus {
    guard(|| {
        with(encoder, |encoder| {
            let layer = layer_of(layer)?;
            // SAFETY: the caller's promise.
            let view = unsafe { read(image, "the image")?.view() }?;
            // SAFETY: the caller's promise.
            let out = unsafe { slice_mut(out, len, "the place for the vectors") }?;
            let (vectors, channels) = encoder.layer_shape(layer)?;
            // Where every image has a grid of its own, its shape is known only now.
            if layer != Layer::Patch || encoder.model().config().vision.max_patches == 0 {
                check_room(vectors * channels, len, "the place for the vectors")?;
            }
            encoder.preprocess(core::slice::from_ref(&view))?;
            let (vectors, channels) = encoder.layer_shape(layer)?;
            check_room(vectors * channels, len, "the place for the vectors")?;
            encoder.encode(Input::Frames(1), layer, out)?;
            if unit != 0 {
                out.chunks_exact_mut(channels).for_each(normalize);
            }
            Ok(())
        })
    })
}

/// Writes how many vectors `layer` has, and how many channels each of them, for one image. Where every image has patches of
/// its own number (NaFlex), this is the shape for the last one. Either place may be null.
///
/// # Safety
/// `vectors` and `channels` are null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_image_encoder_shape(
    encoder: *const OcelliImageEncoder,
    layer: u32,
    vectors: *mut usize,
    channels: *mut usize,
) -> OcelliStatus {
    guard(|| {
        let shape = with(encoder, |encoder| Ok(encoder.layer_shape(layer_of(layer)?)?))?;
        // SAFETY: the caller's promise.
        unsafe { write_both(shape, vectors, channels) }
    })
}

/// Writes the rows and columns of patches, in whose order OCELLI_LAYER_PATCH lists them. Either place may be null.
///
/// # Safety
/// `rows` and `columns` are null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ocelli_image_encoder_grid(
    encoder: *const OcelliImageEncoder,
    rows: *mut usize,
    columns: *mut usize,
) -> OcelliStatus {
    guard(|| {
        let grid = with(encoder, |encoder| Ok(encoder.grid()))?;
        // SAFETY: the caller's promise.
        unsafe { write_both(grid, rows, columns) }
    })
}

/// # Safety
/// `first` and `second` are null or can be written to.
unsafe fn write_both(values: (usize, usize), first: *mut usize, second: *mut usize) -> Result<()> {
    for (value, out) in [(values.0, first), (values.1, second)] {
        if !out.is_null() {
            // SAFETY: the caller's promise.
            unsafe { write(out, value, "the place for the result") }?;
        }
    }
    Ok(())
}

fn layer_of(number: u32) -> Result<Layer> {
    match number {
        OCELLI_LAYER_PATCH => Ok(Layer::Patch),
        OCELLI_LAYER_CLASS => Ok(Layer::Class),
        OCELLI_LAYER_POOLED => Ok(Layer::Pooled),
        OCELLI_LAYER_PROJECTED => Ok(Layer::Projected),
        _ => Err(bad(format!("{number} is no layer (OCELLI_LAYER_PATCH, ...)"))),
    }
}
