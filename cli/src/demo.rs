//! The demo model inside the program: see `models/README.md` for what it knows and what it does not.

use ocelli::Model;
use ocelli::Result;
use ocelli::format::Aligned;
use std::sync::Arc;

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../demo.ocelli"));

/// The demo model.
pub(crate) fn model() -> Result<Arc<Model>> {
    Model::from_static(&FILE.0)
}
