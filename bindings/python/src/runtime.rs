//! Threads and kernels.

use crate::error::{raised, refuse};
use ocelli::{Isa, knobs};
use pyo3::prelude::*;

/// Threads and kernels that encoders share.
#[pyclass(frozen, module = "ocelli._native")]
pub(crate) struct Runtime(pub(crate) ocelli::Runtime);

#[pymethods]
impl Runtime {
    #[new]
    fn new(threads: Option<usize>, isa: Option<&str>) -> PyResult<Runtime> {
        let mut options = knobs::runtime_options().map_err(raised)?;
        if let Some(threads) = threads {
            options = options.threads(threads);
        }
        if let Some(names) = isa {
            let isa = Isa::select(names);
            options = options.isa(isa.map_err(|error| refuse(format!("instruction sets: {error}")))?);
        }
        Ok(Runtime(ocelli::Runtime::new(&options).map_err(raised)?))
    }

    /// Threads, the calling one included.
    #[getter]
    fn threads(&self) -> usize {
        self.0.threads()
    }

    /// Instruction sets in use.
    #[getter]
    fn isa(&self) -> String {
        self.0.kernels().isa().to_string()
    }
}
