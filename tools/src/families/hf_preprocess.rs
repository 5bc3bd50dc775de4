//! Preprocessing as transformers' `CLIPImageProcessor` describes it.

use crate::source::read_json;
use crate::{Error, Result};
use ocelli::format::{Alpha, CropRounding, Filter, PreprocessConfig, Resampler, ResizeMode};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// An image processor's settings and the file they are in.
struct Settings<'j> {
    json: &'j Value,
    path: &'j Path,
}

impl Settings<'_> {
    fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.path, key, problem)
    }

    fn required(&self, key: &str) -> Result<&Value> {
        self.json.get(key).ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// Steps that CLIP always takes; older files leave them out.
    fn must_be_on(&self, key: &str) -> Result<()> {
        match self.json.get(key) {
            None | Some(Value::Bool(true)) => Ok(()),
            Some(other) => Err(self.wrong(key, format!("is {other}, only true is supported"))),
        }
    }

    fn pixels(&self, key: &str, value: &Value) -> Result<u32> {
        let pixels = value.as_u64().and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0);
        pixels.ok_or_else(|| self.wrong(key, format!("is {value}, no number of pixels")))
    }

    /// `{"height": h, "width": w}`, if `value` has exactly these keys.
    fn sides(&self, key: &str, value: &Value) -> Result<Option<(u32, u32)>> {
        match (value.as_object().map(|map| map.len()), value.get("height"), value.get("width")) {
            (Some(2), Some(height), Some(width)) => {
                Ok(Some((self.pixels(key, height)?, self.pixels(key, width)?)))
            }
            _ => Ok(None),
        }
    }

    fn triple(&self, key: &str) -> Result<[f32; 3]> {
        let value = self.required(key)?;
        serde_json::from_value(value.clone())
            .map_err(|_| self.wrong(key, format!("is {value}, expected three numbers")))
    }

    /// Height and width after the crop.
    fn crop(&self) -> Result<(u32, u32)> {
        let value = self.required("crop_size")?;
        if value.is_number() {
            let side = self.pixels("crop_size", value)?;
            return Ok((side, side));
        }
        let sides = self.sides("crop_size", value)?;
        sides.ok_or_else(|| self.wrong("crop_size", format!("is {value}, expected height and width")))
    }

    /// The resize mode, the shortest side if it is cropped, and the image's height and width.
    fn frame(&self, crops: bool) -> Result<(ResizeMode, u32, (u32, u32))> {
        let cropped = match self.json.get("do_center_crop") {
            None | Some(Value::Null) => crops,
            Some(Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            Some(other) => {
                return Err(self.wrong("do_center_crop", format!("is {other}, expected true or false")));
            }
        };
        let size = self.required("size")?;
        if let Some(sides) = self.sides("size", size)? {
            if cropped && self.crop()? != sides {
                return Err(self.wrong("crop_size", "differs from size, which has no shortest side"));
            }
            return Ok((ResizeMode::Squash, 0, sides));
        }
        let only = size.as_object().is_some_and(|map| map.len() == 1);
        let shortest = if only { size.get("shortest_edge").unwrap_or(size) } else { size };
        let shortest = self.pixels("size", shortest)?;
        if !cropped {
            return Err(self.wrong("do_center_crop", "is false, but only the shortest side has a fixed size"));
        }
        Ok((ResizeMode::ShortestCrop, shortest, self.crop()?))
    }
}

/// Reads `processor_config.json` (transformers 5, nested) or `preprocessor_config.json`. `crops`: this family's processor
/// crops unless it is told not to. Returns the configuration, the image's height and width, and the file.
pub(super) fn load(directory: &Path, crops: bool) -> Result<(PreprocessConfig, (u32, u32), PathBuf)> {
    let (json, path) = read(directory)?;
    let settings = Settings { json: &json, path: &path };
    let (mode, shortest, sides) = settings.frame(crops)?;
    // transformers up to 4 resizes with Pillow, from 5 on with torchvision: at most 1-2 levels apart. Checkpoints were
    // trained and published with Pillow.
    let config = settings.config(mode, shortest, Resampler::Pillow)?;
    Ok((config, sides, path))
}

/// The same for a processor that keeps the aspect ratio: instead of a size, the most patches of `patch` pixels.
pub(super) fn load_naflex(directory: &Path, patch: u32) -> Result<(PreprocessConfig, u32, PathBuf)> {
    let (json, path) = read(directory)?;
    let settings = Settings { json: &json, path: &path };
    if settings.pixels("patch_size", settings.required("patch_size")?)? != patch {
        return Err(settings.wrong("patch_size", format!("differs from the model's, which is {patch}")));
    }
    let most = settings.pixels("max_num_patches", settings.required("max_num_patches")?)?;
    let config = settings.config(ResizeMode::Naflex, 0, Resampler::Torchvision)?;
    Ok((config, most, path))
}

/// The processor's settings, and the file that they are in.
fn read(directory: &Path) -> Result<(Value, PathBuf)> {
    let (nested, plain) =
        (directory.join("processor_config.json"), directory.join("preprocessor_config.json"));
    if nested.exists()
        && let Some(json) = read_json(&nested)?.get("image_processor")
    {
        return Ok((json.clone(), nested));
    }
    Ok((read_json(&plain)?, plain))
}

impl Settings<'_> {
    fn config(&self, mode: ResizeMode, shortest: u32, resampler: Resampler) -> Result<PreprocessConfig> {
        for step in ["do_resize", "do_rescale", "do_normalize"] {
            self.must_be_on(step)?;
        }
        if let Some(factor) = self.json.get("rescale_factor")
            && !factor.as_f64().is_some_and(|factor| (factor * 255.0 - 1.0).abs() < 1e-6)
        {
            return Err(self.wrong("rescale_factor", format!("is {factor}, only 1/255 is supported")));
        }
        let filter = match self.required("resample")?.as_u64() {
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            _ => {
                let problem = format!("is {}; supported: 2 (bilinear), 3 (bicubic)", self.json["resample"]);
                return Err(self.wrong("resample", problem));
            }
        };
        Ok(PreprocessConfig {
            mode: mode as u32,
            filter: filter as u32,
            resampler: resampler as u32,
            crop_rounding: CropRounding::Down as u32,
            alpha: Alpha::White as u32,
            shortest,
            mean: self.triple("image_mean")?,
            std: self.triple("image_std")?,
            reserved: [0; 8],
        })
    }
}
