//! The demo model inside the library: see `models/README.md` for what it knows and what it does not.

use crate::error::Result;
use crate::format::Aligned;
use crate::model::Model;

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../models/demo.ocelli"));

/// The demo model.
///
/// # Errors
/// None in a build that passed its tests.
pub fn model() -> Result<Model> {
    Model::from_static(&FILE.0)
}
