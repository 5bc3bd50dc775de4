//! Pictures: decoded files, and arrays of the caller's.

use crate::error::{raised, refuse};
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use ocelli::knobs;
use ocelli::preprocess::decode::{DecodedImage, Limits, Options, decode, decode_file};
use ocelli::preprocess::{FrameSpec, PixelFormat, PixelView, YuvColor};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;

/// A decoded picture, upright.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct Picture(DecodedImage);

pub(crate) fn options(fast_for: Option<FrameSpec>) -> ocelli::Result<Options> {
    let mut options = Options::default();
    if let Some(max_pixels) = knobs::max_pixels()? {
        options.limits = Limits::new(max_pixels);
    }
    options.fast_for = fast_for;
    Ok(options)
}

#[pymethods]
impl Picture {
    /// Decodes the file at `path`.
    #[staticmethod]
    fn open(python: Python<'_>, path: PathBuf) -> PyResult<Picture> {
        python.detach(|| decode_file(path, &options(None)?)).map(Picture).map_err(raised)
    }

    /// Decodes the file in `data`.
    #[staticmethod]
    fn decode(data: &Bound<'_, PyBytes>) -> PyResult<Picture> {
        let bytes = data.as_bytes();
        data.py().detach(|| decode(bytes, &options(None)?)).map(Picture).map_err(raised)
    }

    /// Height and width in pixels.
    #[getter]
    fn shape(&self) -> (u32, u32) {
        let view = self.0.view();
        (view.height(), view.width())
    }

    /// What was wrong with the file although it could be decoded.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.0.warnings().to_vec()
    }
}

/// What an encoder is given.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    Picture(Bound<'py, Picture>),
    /// Pixels, the name of their format, that of what luminance and chroma mean, width and height.
    Array(Bound<'py, PyArrayDyn<u8>>, String, String, u32, u32),
}

/// A picture that stays while the interpreter's lock is released.
pub(crate) enum Held<'py> {
    Picture(Bound<'py, Picture>),
    Array(PyReadonlyArrayDyn<'py, u8>, PixelFormat, YuvColor, u32, u32),
}

impl<'py> Source<'py> {
    pub(crate) fn hold(self) -> PyResult<Held<'py>> {
        Ok(match self {
            Source::Picture(picture) => Held::Picture(picture),
            Source::Array(array, format, color, width, height) => {
                let array = array
                    .try_readonly()
                    .map_err(|_| refuse("the array is being written to by other Rust code"))?;
                Held::Array(array, format_of(&format)?, color_of(&color)?, width, height)
            }
        })
    }
}

impl Held<'_> {
    /// The pixels. An array's are not copied.
    pub(crate) fn view(&self) -> PyResult<PixelView<'_>> {
        match self {
            Held::Picture(picture) => Ok(picture.get().0.view()),
            Held::Array(array, format, color, width, height) => {
                let (data, stride) = rows(array)?;
                let view = PixelView::in_buffer(*format, data, *width, *height, stride);
                Ok(view.map_err(raised)?.with_yuv(*color))
            }
        }
    }
}

/// The bytes from the array's first to its last, and from one row to the next. Within rows there must be no gaps.
fn rows<'a>(array: &'a PyReadonlyArrayDyn<'_, u8>) -> PyResult<(&'a [u8], usize)> {
    let (shape, strides) = (array.shape(), array.strides());
    let gaps = || refuse("the array's rows have gaps in them: give numpy.ascontiguousarray of it");
    let (&[rows, ..], &[stride, ..]) = (shape, strides) else { return Err(gaps()) };
    if shape.contains(&0) {
        return Err(refuse("the array is empty"));
    }
    let mut row_bytes = 1;
    for (&len, &stride) in shape.iter().zip(strides).skip(1).rev() {
        // The stride of an axis with one element means nothing.
        if len > 1 && usize::try_from(stride).ok() != Some(row_bytes) {
            return Err(gaps());
        }
        row_bytes *= len;
    }
    let stride = match rows {
        1 => row_bytes,
        _ => usize::try_from(stride).map_err(|_| gaps())?,
    };
    let len = (rows - 1).checked_mul(stride).and_then(|len| len.checked_add(row_bytes)).ok_or_else(gaps)?;
    // SAFETY: numpy has checked that the elements of all its rows lie in memory that the array keeps alive, and the rows
    // go up and have no gaps in them, so that the bytes from the first to the last lie within it. The borrow ends before
    // the array does. Should another thread of the interpreter write meanwhile, pixels are mixed of both pictures, as with
    // every function of numpy; no length or index comes from them.
    Ok((unsafe { core::slice::from_raw_parts(array.data(), len) }, stride))
}

fn format_of(name: &str) -> PyResult<PixelFormat> {
    let found = PixelFormat::ALL.into_iter().find(|format| format.name() == name);
    found.ok_or_else(|| {
        let names = PixelFormat::ALL.map(PixelFormat::name).join(", ");
        refuse(format!("{name:?} is no pixel format: expected one of {names}"))
    })
}

fn color_of(name: &str) -> PyResult<YuvColor> {
    match name {
        "bt601" => Ok(YuvColor::Bt601),
        "bt601-full" => Ok(YuvColor::Bt601Full),
        "bt709" => Ok(YuvColor::Bt709),
        "bt709-full" => Ok(YuvColor::Bt709Full),
        _ => Err(refuse(format!("{name:?} is no colour: expected bt601, bt601-full, bt709 or bt709-full"))),
    }
}
