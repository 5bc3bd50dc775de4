//! From a view of pixels to what the model reads: the 8-bit RGB frame, then normalised patch rows.
//!
//! ```text
//! PixelView ─► Resizer (geometry, tables, rows) ─► frame [height][width][3] u8 ─► patch rows f32
//! ```
//!
//! Nothing here allocates, except `decode` (image files), which says so. Working
//! memory is the caller's: [`ResizePlan`] states its size for every picture up to a largest side.

#![forbid(unsafe_code)]

pub mod coefficients;
#[cfg(feature = "decode")]
pub mod decode;
pub mod frame;
pub mod in_buffer;
pub mod naflex;
pub mod normalize;
pub mod pixels;
pub mod resize;
mod resize_plan;
pub mod tiles;

pub use coefficients::Window;
pub use frame::{Axis, FrameSpec, Geometry};
pub use in_buffer::PixelFormat;
pub use normalize::{NormalizationTable, normalization_table, write_patch_row, write_patch_row_planar};
pub use pixels::{Packed, PixelView, YuvColor};
pub use resize::{Resizer, Tables};
pub use resize_plan::{ResizeMemory, ResizePlan};
pub use tiles::{TileBox, Tiles};

/// Largest width and height of a source picture, in pixels.
pub const MAX_SIDE: u32 = 65_535;
