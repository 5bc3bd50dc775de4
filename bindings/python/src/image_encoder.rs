//! Images to embeddings.

use crate::error::{raised, refuse};
use crate::model::Model;
use crate::picture::{Held, Source};
use crate::runtime::Runtime;
use numpy::{IntoPyArray, PyArray3, PyArrayMethods, PyReadonlyArray4, PyUntypedArrayMethods};
use ocelli::preprocess::PixelView;
use ocelli::score::normalize;
use ocelli::vision::Layer;
use ocelli::{ImageOptions, Input, knobs};
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// An image tower with its memory. Threads take turns.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct ImageEncoder(Mutex<ocelli::ImageEncoder>);

pub(crate) fn make(
    model: &Model,
    runtime: &Runtime,
    batch: usize,
    image_size: Option<(u32, u32)>,
) -> ocelli::Result<ocelli::ImageEncoder> {
    let options = ImageOptions::default().batch(batch).image_size(image_size).limits(knobs::limits()?);
    ocelli::ImageEncoder::new(&model.0, &runtime.0, &options)
}

/// Vectors of some images, [images, vectors, channels].
struct Vectors {
    values: Vec<f32>,
    shape: [usize; 3],
}

impl Vectors {
    fn into_array<'py>(self, python: Python<'py>) -> PyResult<Bound<'py, PyArray3<f32>>> {
        self.values.into_pyarray(python).reshape(self.shape)
    }
}

impl ImageEncoder {
    /// Runs `work` with the encoder and without the interpreter's lock, when no other thread has it.
    fn with<T: Send>(
        &self,
        python: Python<'_>,
        work: impl FnOnce(&mut ocelli::ImageEncoder) -> ocelli::Result<T> + Send,
    ) -> PyResult<T> {
        let work = || work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        python.detach(work).map_err(raised)
    }

    /// A getter's value.
    fn get<T: Send>(
        &self,
        python: Python<'_>,
        get: impl FnOnce(&ocelli::ImageEncoder) -> T + Send,
    ) -> PyResult<T> {
        self.with(python, |encoder| Ok(get(encoder)))
    }
}

#[pymethods]
impl ImageEncoder {
    #[new]
    fn new(
        python: Python<'_>,
        model: &Model,
        runtime: &Runtime,
        batch: usize,
        image_size: Option<(u32, u32)>,
    ) -> PyResult<ImageEncoder> {
        let encoder = python.detach(|| make(model, runtime, batch, image_size)).map_err(raised)?;
        Ok(ImageEncoder(Mutex::new(encoder)))
    }

    /// The vectors of `layer` of the images, at most a batch: [images, vectors, channels], each of length 1 with `unit`.
    fn encode<'py>(
        &self,
        python: Python<'py>,
        sources: Vec<Source<'py>>,
        layer: &str,
        unit: bool,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let layer = layer_of(layer)?;
        let held = sources.into_iter().map(Source::hold).collect::<PyResult<Vec<Held<'_>>>>()?;
        let views = held.iter().map(Held::view).collect::<PyResult<Vec<PixelView<'_>>>>()?;
        let views = &views[..];
        let vectors = self.with(python, |encoder| {
            encoder.preprocess(views)?;
            encode(encoder, Input::Frames(views.len()), views.len(), layer, unit)
        })?;
        vectors.into_array(python)
    }

    /// The same for pixels that were resized and normalised elsewhere: [images, 3, height, width], red first.
    fn encode_normalized<'py>(
        &self,
        python: Python<'py>,
        pixels: PyReadonlyArray4<'py, f32>,
        layer: &str,
        unit: bool,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let layer = layer_of(layer)?;
        let shape = pixels.shape();
        let (images, channels, size) = (shape[0], shape[1], (shape[2], shape[3]));
        let values = pixels.as_slice().map_err(|_| refuse("the array has gaps: give a contiguous one"))?;
        let (height, width) = self.get(python, |encoder| encoder.image_size())?;
        if channels != 3 || size != (height as usize, width as usize) {
            return Err(refuse(format!(
                "this encoder takes normalised pixels of shape (images, 3, {height}, {width}), not {shape:?}"
            )));
        }
        let vectors =
            self.with(python, |encoder| encode(encoder, Input::Planar(values), images, layer, unit))?;
        vectors.into_array(python)
    }

    /// What the model sees of an image: [height, width, 3], red first.
    fn frame<'py>(&self, python: Python<'py>, source: Source<'py>) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let held = source.hold()?;
        let view = held.view()?;
        let (frame, shape) = self.with(python, |encoder| {
            encoder.preprocess(core::slice::from_ref(&view))?;
            let ((rows, columns), (height, width)) = (encoder.grid(), encoder.image_size());
            let vision = &encoder.model().config().vision;
            // Where every image has a size of its own, its grid tells it.
            let shape = match vision.max_patches {
                0 => [height as usize, width as usize, 3],
                _ => [rows * vision.patch as usize, columns * vision.patch as usize, 3],
            };
            Ok((encoder.frame(0)?.to_vec(), shape))
        })?;
        frame.into_pyarray(python).reshape(shape)
    }

    /// Rows and columns of the patches of the last image.
    #[getter]
    fn grid(&self, python: Python<'_>) -> PyResult<(usize, usize)> {
        self.get(python, |encoder| encoder.grid())
    }

    /// Height and width of the image that the model sees, in pixels.
    #[getter]
    fn image_size(&self, python: Python<'_>) -> PyResult<(u32, u32)> {
        self.get(python, |encoder| encoder.image_size())
    }

    /// Most images in one call.
    #[getter]
    fn batch(&self, python: Python<'_>) -> PyResult<usize> {
        self.get(python, |encoder| encoder.batch())
    }

    /// Bytes of its memory.
    #[getter]
    fn memory(&self, python: Python<'_>) -> PyResult<usize> {
        self.get(python, |encoder| encoder.plan().bytes())
    }
}

/// The vectors of `layer` of the `images` in `input`.
fn encode(
    encoder: &mut ocelli::ImageEncoder,
    input: Input<'_>,
    images: usize,
    layer: Layer,
    unit: bool,
) -> ocelli::Result<Vectors> {
    let (vectors, channels) = encoder.layer_shape(layer)?;
    let mut values = vec![0.0; images * vectors * channels];
    encoder.encode(input, layer, &mut values)?;
    if unit {
        values.chunks_exact_mut(channels).for_each(normalize);
    }
    Ok(Vectors { values, shape: [images, vectors, channels] })
}

fn layer_of(name: &str) -> PyResult<Layer> {
    let layers = [Layer::Patch, Layer::Class, Layer::Pooled, Layer::Projected];
    let found = layers.into_iter().find(|layer| layer.name() == name);
    found.ok_or_else(|| refuse(format!("{name:?} is no layer: expected patch, cls, pooled or projected")))
}
