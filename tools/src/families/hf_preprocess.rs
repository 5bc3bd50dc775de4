//! Preprocessing as an image processor of transformers describes it: `preprocessor_config.json`, or its section in
//! `processor_config.json`.

use super::hf_processor::Processor;
use crate::source::read_json;
use crate::{Error, Result};
use ocelli::format::{Alpha, CropRounding, Filter, PreprocessConfig, Resampler, ResizeMode};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What was read.
pub(super) struct Loaded {
    pub(super) config: PreprocessConfig,
    /// Height and width of the model's image; of a patch for a processor that keeps the aspect ratio.
    pub(super) size: (u32, u32),
    /// Most patches of an image; 0 unless the processor keeps the aspect ratio.
    pub(super) max_patches: u32,
    /// The file.
    pub(super) path: PathBuf,
}

/// Reads the settings of a checkpoint in `directory` whose configuration says `model_type`.
pub(super) fn load(directory: &Path, model_type: &str) -> Result<Loaded> {
    let (json, path) = read(directory)?;
    let settings = Settings { json: &json, path: &path, class: class(&json, &path, model_type)? };
    if settings.class.patches.is_some() {
        let problem = format!(
            "is that of {}ImageProcessor, which keeps the aspect ratio: a {model_type} sees images of one size",
            settings.class.name
        );
        return Err(settings.wrong("image_processor_type", problem));
    }
    let (mode, shortest, size) = settings.frame()?;
    // transformers up to 4 resizes with Pillow, from 5 on with torchvision: at most 1-2 levels apart. Checkpoints were
    // trained and published with Pillow.
    let config = settings.config(mode, shortest, Resampler::Pillow)?;
    Ok(Loaded { config, size, max_patches: 0, path })
}

/// The same for a model that keeps the aspect ratio, of patches of `patch` pixels.
pub(super) fn load_naflex(directory: &Path, model_type: &str, patch: u32) -> Result<Loaded> {
    let (json, path) = read(directory)?;
    let settings = Settings { json: &json, path: &path, class: class(&json, &path, model_type)? };
    let Some((most, side)) = settings.class.patches else {
        let problem = format!(
            "is that of {}ImageProcessor, but a {model_type} keeps the aspect ratio, as Siglip2ImageProcessor does",
            settings.class.name
        );
        return Err(settings.wrong("image_processor_type", problem));
    };
    let pixels = |key: &str, default: u32| match settings.get(key) {
        Some(value) => settings.pixels(key, value),
        None => Ok(default),
    };
    if pixels("patch_size", side)? != patch {
        return Err(settings.wrong("patch_size", format!("differs from the model's, which is {patch}")));
    }
    let max_patches = pixels("max_num_patches", most)?;
    let config = settings.config(ResizeMode::Naflex, 0, Resampler::Torchvision)?;
    Ok(Loaded { config, size: (patch, patch), max_patches, path })
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

/// The class of the processor: the file's own, or that of the model's family.
fn class(json: &Value, path: &Path, model_type: &str) -> Result<&'static Processor> {
    let keys = ["image_processor_type", "feature_extractor_type"];
    let named = keys.iter().find_map(|key| Some((*key, json.get(key).filter(|value| !value.is_null())?)));
    let Some((key, value)) = named else { return Ok(Processor::of_model(model_type)) };
    value.as_str().and_then(Processor::named).ok_or_else(|| {
        let problem = format!("is {value}, which is not supported; supported: {}", Processor::names());
        Error::field(path, key, problem)
    })
}

/// An image processor's settings, the file they are in, and the class that stands in for keys that are left out.
struct Settings<'j> {
    json: &'j Value,
    path: &'j Path,
    class: &'static Processor,
}

impl Settings<'_> {
    fn wrong(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::field(self.path, key, problem)
    }

    /// The value of `key`; `null` counts as absent.
    fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    /// Whether a step is taken. A switch that is `null` is off, as in Python.
    fn is_on(&self, key: &str, default: bool) -> Result<bool> {
        match self.json.get(key) {
            None => Ok(default),
            Some(Value::Bool(on)) => Ok(*on),
            Some(Value::Null) => Ok(false),
            Some(other) => Err(self.wrong(key, format!("is {other}, expected true or false"))),
        }
    }

    fn pixels(&self, key: &str, value: &Value) -> Result<u32> {
        let pixels = value.as_u64().and_then(|value| u32::try_from(value).ok()).filter(|&value| value > 0);
        pixels.ok_or_else(|| self.wrong(key, format!("is {value}, no number of pixels")))
    }

    /// `{"height": h, "width": w}` with exactly these keys, or `[h, w]`.
    fn sides(&self, key: &str, value: &Value) -> Result<Option<(u32, u32)>> {
        let (height, width) = match (value, value.get("height"), value.get("width")) {
            (Value::Object(map), Some(height), Some(width)) if map.len() == 2 => (height, width),
            (Value::Array(list), ..) if list.len() == 2 => (&list[0], &list[1]),
            _ => return Ok(None),
        };
        Ok(Some((self.pixels(key, height)?, self.pixels(key, width)?)))
    }

    /// Three numbers, or one for all channels.
    fn triple(&self, key: &str, default: [f32; 3]) -> Result<[f32; 3]> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let values =
            serde_json::from_value(value.clone()).or(value.as_f64().map(|one| [one as f32; 3]).ok_or(()));
        values.map_err(|()| self.wrong(key, format!("is {value}, expected three numbers")))
    }

    /// Height and width after the crop.
    fn crop(&self) -> Result<(u32, u32)> {
        let key = "crop_size";
        let Some(value) = self.get(key) else {
            let side = self.class.crop.ok_or_else(|| {
                self.wrong(key, format!("is missing, and {}ImageProcessor has none", self.class.name))
            })?;
            return Ok((side, side));
        };
        if value.is_number() {
            let side = self.pixels(key, value)?;
            return Ok((side, side));
        }
        let sides = self.sides(key, value)?;
        sides.ok_or_else(|| self.wrong(key, format!("is {value}, expected height and width")))
    }

    /// The resize mode, the shortest side if it is cropped (both, if squashed before), and the image's height and width.
    fn frame(&self) -> Result<(ResizeMode, u32, (u32, u32))> {
        if !self.is_on("do_resize", true)? {
            let problem =
                "is off: such a model takes images of its own size only, but ocelli resizes every image";
            return Err(self.wrong("do_resize", problem));
        }
        let cropped = self.is_on("do_center_crop", self.class.crop.is_some())?;
        let Size { squashed, shortest } = self.size()?;
        if let Some(sides) = squashed {
            return match if cropped { self.crop()? } else { sides } {
                crop if crop == sides => Ok((ResizeMode::Squash, 0, sides)),
                crop if sides.0 == sides.1 => Ok((ResizeMode::SquashCrop, sides.0, crop)),
                crop => {
                    let problem = format!(
                        "is {crop:?}, but size is {sides:?}: of pictures that are no squares, a part cannot be cut"
                    );
                    Err(self.wrong("crop_size", problem))
                }
            };
        }
        if !cropped {
            let problem = "is off, but only the shortest side has a fixed size";
            return Err(self.wrong("do_center_crop", problem));
        }
        Ok((ResizeMode::ShortestCrop, shortest, self.crop()?))
    }

    /// What images are resized to.
    fn size(&self) -> Result<Size> {
        let key = "size";
        let square = |side| Size { squashed: Some((side, side)), shortest: 0 };
        let shortest = |shortest| Size { squashed: None, shortest };
        let Some(value) = self.get(key) else {
            // Only classes that crop leave the long side free by default.
            let squash = self.class.square || self.class.crop.is_none();
            return Ok(if squash { square(self.class.size) } else { shortest(self.class.size) });
        };
        if value.is_number() {
            let side = self.pixels(key, value)?;
            return Ok(if self.class.square { square(side) } else { shortest(side) });
        }
        if let Some(sides) = self.sides(key, value)? {
            return Ok(Size { squashed: Some(sides), shortest: 0 });
        }
        match (value.as_object(), value.get("shortest_edge")) {
            (Some(map), Some(side)) if map.len() == 1 => Ok(shortest(self.pixels(key, side)?)),
            _ => Err(self.wrong(
                key,
                format!("is {value}; supported: one number, height and width, or shortest_edge"),
            )),
        }
    }

    fn config(&self, mode: ResizeMode, shortest: u32, resampler: Resampler) -> Result<PreprocessConfig> {
        let filter = match self.json.get("resample") {
            None => self.class.filter,
            Some(value) => match value.as_u64() {
                Some(2) => Filter::Bilinear,
                Some(3) => Filter::Bicubic,
                _ => {
                    let problem = format!("is {value}; supported: 2 (bilinear), 3 (bicubic)");
                    return Err(self.wrong("resample", problem));
                }
            },
        };
        let (mean, std) = self.normalisation()?;
        Ok(PreprocessConfig {
            mode: mode as u32,
            filter: filter as u32,
            resampler: resampler as u32,
            crop_rounding: CropRounding::Down as u32,
            alpha: Alpha::White as u32,
            shortest,
            mean,
            std,
            reserved: [0; 8],
        })
    }

    /// Mean and deviation of values in 0..=1, so that `(value / 255 - mean) / std` is what the processor computes, whatever
    /// it multiplies values by, and whether it normalises at all.
    fn normalisation(&self) -> Result<([f32; 3], [f32; 3])> {
        let (mean, std) = if self.is_on("do_normalize", true)? {
            (self.triple("image_mean", self.class.mean)?, self.triple("image_std", self.class.std)?)
        } else {
            ([0.0; 3], [1.0; 3])
        };
        let mut factor = 1.0;
        if self.is_on("do_rescale", true)? {
            if let Some(value) = self.get("rescale_factor") {
                let given = value.as_f64().filter(|factor| factor.is_finite() && *factor > 0.0);
                factor = given.ok_or_else(|| {
                    self.wrong("rescale_factor", format!("is {value}, expected a number above 0"))
                })? * 255.0;
                // 1/255 in the digits of any float type is 1/255.
                if (factor - 1.0f64).abs() < 1e-6 {
                    factor = 1.0;
                }
            }
        } else {
            factor = 255.0;
        }
        let divided = |values: [f32; 3]| values.map(|value| (f64::from(value) / factor) as f32);
        Ok((divided(mean), divided(std)))
    }
}

/// What images are resized to: height and width, or their shortest side.
struct Size {
    squashed: Option<(u32, u32)>,
    shortest: u32,
}
