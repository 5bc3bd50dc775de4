//! `ocelli._native`: the library for Python. What it is given has been sorted by `python/ocelli`, and is checked again
//! here. The interpreter's lock is released wherever the library works.

mod bank;
mod classifier;
mod error;
mod image_encoder;
mod model;
mod picture;
mod runtime;
mod text_encoder;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let python = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("Error", python.get_type::<error::Error>())?;
    module.add("PictureError", python.get_type::<error::PictureError>())?;
    module.add_class::<model::Model>()?;
    module.add_class::<runtime::Runtime>()?;
    module.add_class::<bank::Bank>()?;
    module.add_class::<picture::Picture>()?;
    module.add_class::<image_encoder::ImageEncoder>()?;
    module.add_class::<text_encoder::TextEncoder>()?;
    module.add_class::<classifier::Classifier>()?;
    Ok(())
}
