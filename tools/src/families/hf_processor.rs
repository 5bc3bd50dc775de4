//! The image processors of transformers: what each class does where a checkpoint's file leaves a key out (release 5.24,
//! where releases back to 4.0 agree).

use ocelli::format::Filter;

/// A class of image processors.
#[derive(Debug)]
pub(super) struct Processor {
    /// Its name without `ImageProcessor` or `FeatureExtractor`.
    pub(super) name: &'static str,
    /// `size`, one number: see `square`.
    pub(super) size: u32,
    /// A `size` of one number is that of a square, and otherwise that of the shortest side.
    pub(super) square: bool,
    /// Side of the centre crop, if the class crops.
    pub(super) crop: Option<u32>,
    /// `resample`.
    pub(super) filter: Filter,
    /// `image_mean`.
    pub(super) mean: [f32; 3],
    /// `image_std`.
    pub(super) std: [f32; 3],
    /// Keeps the aspect ratio, with at most so many patches (`max_num_patches`) of so many pixels (`patch_size`).
    pub(super) patches: Option<(u32, u32)>,
}

const HALF: [f32; 3] = [0.5; 3];
const CLIP_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The simplest of all; the others are given by what they do differently.
const VIT: Processor = Processor {
    name: "ViT",
    size: 224,
    square: true,
    crop: None,
    filter: Filter::Bilinear,
    mean: HALF,
    std: HALF,
    patches: None,
};

/// Others have the same defaults.
const CLIP: Processor = Processor {
    name: "CLIP",
    square: false,
    crop: Some(224),
    filter: Filter::Bicubic,
    mean: CLIP_MEAN,
    std: CLIP_STD,
    ..VIT
};

/// Every class that is supported.
const PROCESSORS: [Processor; 9] = [
    VIT,
    CLIP,
    Processor { name: "ChineseCLIP", ..CLIP },
    Processor { name: "Bit", ..CLIP },
    // Its default of 224 is a square all the same: see `Settings::size`.
    Processor { name: "Siglip", square: false, filter: Filter::Bicubic, ..VIT },
    Processor { name: "Siglip2", patches: Some((256, 16)), ..VIT },
    Processor { name: "DeiT", size: 256, crop: Some(224), filter: Filter::Bicubic, ..VIT },
    Processor { name: "DINOv3ViT", mean: IMAGENET_MEAN, std: IMAGENET_STD, ..VIT },
    Processor { name: "Beit", filter: Filter::Bicubic, ..VIT },
];

impl Processor {
    /// The class that a file names, in any of its spellings: `CLIPImageProcessor`, `CLIPImageProcessorFast` and `...Pil`,
    /// or the `CLIPFeatureExtractor` of old releases.
    pub(super) fn named(class: &str) -> Option<&'static Processor> {
        let base = class.strip_suffix("Fast").or(class.strip_suffix("Pil")).unwrap_or(class);
        let base = base.strip_suffix("ImageProcessor").or(base.strip_suffix("FeatureExtractor"))?;
        PROCESSORS.iter().find(|processor| processor.name == base)
    }

    /// The class that transformers takes for a `model_type` whose file names none.
    pub(super) fn of_model(model_type: &str) -> &'static Processor {
        let name = match model_type {
            "clip" | "clip_vision_model" => "CLIP",
            "chinese_clip_vision_model" => "ChineseCLIP",
            "siglip" | "siglip_vision_model" => "Siglip",
            "siglip2" | "siglip2_vision_model" => "Siglip2",
            "dinov2" | "dinov2_with_registers" => "Bit",
            "dinov3_vit" => "DINOv3ViT",
            _ => "ViT",
        };
        PROCESSORS.iter().find(|processor| processor.name == name).unwrap_or(&VIT)
    }

    /// Names of all classes, for messages.
    pub(super) fn names() -> String {
        PROCESSORS.each_ref().map(|processor| format!("{}ImageProcessor", processor.name)).join(", ")
    }
}
