//! `ocelli-pack eval`: the fixtures' losses, and the demo model's accuracy as PyTorch has it, in fp32.

use half::f16;
use ocelli::format::Limits;
use ocelli::format::{Dtype, Layout, TensorSpec, for_each_tensor};
use ocelli::vision::Layer;
use ocelli::{ImageEncoder, ImageOptions, Input, Model, Runtime, RuntimeOptions, TextEncoder, Watch};
use ocelli_kernels::pack::{index_float, index_i8};
use ocelli_tools::eval::{EvalOptions, evaluate, html, retrieval};
use ocelli_tools::write::{Contents, Planned, ReadRows, write};
use ocelli_tools::{ConvertOptions, Precision, convert};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

fn options(model: &Path, images: &Path) -> EvalOptions {
    let (model, images) = (model.into(), images.into());
    EvalOptions { model, images, templates: Vec::new(), bank: None, merging: None, against: None }
}

/// The fixture's own pictures and texts, pair by pair.
fn pairs(folder: &Path, name: &str) -> PathBuf {
    let meta: Value = serde_json::from_slice(&fs::read(fixture(name).join("meta.json")).unwrap()).unwrap();
    let mut table = csv::Writer::from_path(folder.join("pairs.csv")).unwrap();
    table.write_record(["image", "text"]).unwrap();
    let images = meta["images"].as_array().unwrap();
    for (image, text) in images.iter().zip(meta["texts"].as_array().unwrap()) {
        let image = fixture(name).join(image.as_str().unwrap());
        table.write_record([image.to_str().unwrap(), text.as_str().unwrap()]).unwrap();
    }
    table.flush().unwrap();
    folder.join("pairs.csv")
}

/// Converts a fixture to fp32.
fn converted(folder: &Path, name: &str, tokenizer: &str) -> PathBuf {
    let model = folder.join("model.ocelli");
    let mut conversion = ConvertOptions::new(fixture(name), &model, Precision::Fp32);
    conversion.model.tokenizer = Some(fixture(tokenizer));
    convert(&conversion).unwrap();
    model
}

/// A tensor of what the library computed.
fn expected(name: &str, tensor: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = fs::read(fixture(name).join("expected.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = tensors.tensor(tensor).unwrap();
    (view.shape().to_vec(), view.data().to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The library's loss.
fn loss(name: &str) -> f64 {
    floats(&expected(name, "loss").1)[0].into()
}

/// Fixtures with a loss, and the folders of their tokenizers.
const LOSSES: [(&str, &str); 7] = [
    ("clip-hf", "clip-hf"),
    ("clip-hf-outliers", "clip-hf"),
    ("clip-hf-gelu-p14", "clip-hf-gelu-p14"),
    ("clip-openclip", "clip-hf"),
    ("clip-openai", "clip-hf"),
    ("siglip-hf", "siglip-hf"),
    ("siglip2-fixres", "siglip2-fixres"),
];

/// Model and loss alone: pixels and token ids are the library's.
#[test]
fn losses_from_the_librarys_own_pixels_equal_the_librarys() {
    for (name, tokenizer) in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let model = Model::open(converted(folder.path(), name, tokenizer)).unwrap();
        let config = model.file().config();
        let (shape, pixels) = expected(name, "pixel_values");
        let pairs = shape[0];
        let runtime = Runtime::new(&RuntimeOptions::default()).unwrap();
        let batch = ImageOptions::default().batch(pairs);
        let mut encoder = ImageEncoder::new(&model, &runtime, &batch).unwrap();
        let mut images = vec![0.0; pairs * encoder.embed_dim()];
        encoder.encode(Input::Planar(&floats(&pixels)), Layer::Projected, &mut images).unwrap();
        let mut encoder = TextEncoder::new(&model, &runtime, &Limits::default()).unwrap();
        let (shape, ids) = expected(name, "input_ids");
        let ids: Vec<u32> =
            ids.as_chunks().0.iter().map(|&id| u32::try_from(i64::from_le_bytes(id)).unwrap()).collect();
        let mut texts = Vec::new();
        for ids in ids.chunks_exact(shape[1]).take(pairs) {
            // CLIP reads up to its end token, the largest id; SigLIP reads the padding too.
            let last = ids.iter().position(|id| id == ids.iter().max().unwrap()).unwrap();
            let ids = if config.text.padded != 0 { ids } else { &ids[..=last] };
            let mut text = vec![0.0; encoder.embed_dim()];
            encoder.encode_ids(ids, &mut text, Watch::default()).unwrap();
            texts.extend(text);
        }
        let owners: Vec<usize> = (0..pairs).collect();
        let found = retrieval(&config.score, &images, &texts, &owners).loss.unwrap();
        println!("{name}: {found:.6}, expected {:.6}", loss(name));
        assert!((found - loss(name)).abs() < 1e-4, "{name}: {found}, expected {}", loss(name));
    }
}

/// The same from the files of the pictures, as the command has it.
#[test]
fn losses_from_files_are_near_the_librarys() {
    for (name, tokenizer) in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let model = converted(folder.path(), name, tokenizer);
        let result = evaluate(&options(&model, &pairs(folder.path(), name))).unwrap();
        let retrieval = result.retrieval.unwrap();
        let found = retrieval.loss.unwrap();
        println!("{name}: {} {found:.6}, expected {:.6}", retrieval.loss_name, loss(name));
        // Pixels may be a level off where the library resized with other arithmetic.
        assert!((found - loss(name)).abs() < 2e-3, "{name}: {found}, expected {}", loss(name));
        assert_eq!(retrieval.image_to_text[1..], [1.0, 1.0]);
    }
}

/// The demo model, and a folder with eight of its pictures for each of two classes.
fn cats_and_ships() -> (PathBuf, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for class in ["cat", "ship"] {
        fs::create_dir(folder.path().join(class)).unwrap();
        for i in 0..8 {
            let name = format!("{class}/{i:04}.jpg");
            fs::copy(fixture("cifar10").join(&name), folder.path().join(&name)).unwrap();
        }
    }
    (Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cifar10/cifar10.ocelli"), folder)
}

#[test]
fn a_banks_labels_may_be_more_and_in_another_order() {
    let (demo, folder) = cats_and_ships();
    let (model, bank) = (Model::open(&demo).unwrap(), folder.path().join("own.bank"));
    fs::write(&bank, model.file().bank().unwrap().to_bytes()).unwrap();
    let mut options = options(&demo, folder.path());
    options.bank = Some(bank.clone());
    let result = evaluate(&options).unwrap().zero_shot.unwrap();
    assert_eq!((result.labels.len(), result.confusion.len()), (10, 10));
    let of = |label: &str| result.confusion[result.labels.iter().position(|l| l == label).unwrap()].clone();
    assert_eq!(
        (of("cat").iter().sum::<usize>(), of("ship").iter().sum::<usize>(), of("dog").iter().sum()),
        (8, 8, 0)
    );
    // Chance among ten labels is 0.1.
    assert!(result.top1 > 0.3, "{}", result.top1);
    // A label that is not in it, and another model's.
    fs::create_dir(folder.path().join("unicorn")).unwrap();
    fs::copy(fixture("cifar10/cat/0000.jpg"), folder.path().join("unicorn/a.jpg")).unwrap();
    assert!(evaluate(&options).unwrap_err().to_string().contains("\"unicorn\", which is not in the bank"));
    options.model = folder.path().join("other.ocelli");
    convert(&ConvertOptions::new(fixture("dinov2-hf"), &options.model, Precision::Fp32)).unwrap();
    let message = evaluate(&options).unwrap_err().to_string();
    assert!(message.contains("own.bank") && message.contains("another model"), "{message}");
}

#[test]
fn a_comparison_and_its_page() {
    let (demo, folder) = cats_and_ships();
    let mut options = options(&demo, folder.path());
    options.against = Some(demo.clone());
    let result = evaluate(&options).unwrap();
    let zero_shot = result.zero_shot.as_ref().unwrap();
    assert_eq!((zero_shot.labels.as_slice(), result.images), (&["cat".to_owned(), "ship".into()][..], 16));
    assert!(zero_shot.top1 > 0.8 && zero_shot.top5 == 1.0);
    assert_eq!(zero_shot.confusion.iter().flatten().sum::<usize>(), 16);
    let other = result.against.as_ref().unwrap();
    assert_eq!((other.agreement, other.difference.unwrap().points), (Some(1.0), 0.0));
    assert!(other.cosine.min > 0.999_999);
    let page = html(&result);
    assert!(page.contains("Confusion matrix") && page.contains("Reliability") && !page.contains("http"));
}

#[test]
fn unusable_data_is_named() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cifar10/cifar10.ocelli");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    let message = |images: &Path| evaluate(&options(&demo, images)).unwrap_err().to_string();
    assert!(message(folder.path()).contains("one folder per class"));
    for (contents, expected) in [
        ("picture,label\n", "\"image\""),
        ("image,colour\n", "\"label\""),
        ("image,label\n", "no rows"),
        ("image,label\na.jpg\n", "no CSV table"),
        ("image,label\na.jpg,x\na.jpg,y\n", "twice"),
        ("image,label\nabsent.jpg,x\n", "absent.jpg"),
    ] {
        fs::write(&table, contents).unwrap();
        let message = message(&table);
        assert!(message.contains("table.csv") || message.contains("absent.jpg"), "{message}");
        assert!(message.contains(expected), "{contents}: {message}");
    }
}

/// The column of PyTorch's answers.
fn pytorchs_answers(table: &Path) -> Vec<String> {
    let mut reader = csv::Reader::from_path(table).unwrap();
    reader.records().map(|row| row.unwrap()[2].to_owned()).collect()
}

/// Every answer of an fp32 model to the 2,000 photographs is PyTorch's, as `table` has them, and so is its accuracy.
fn assert_answers_are_pytorchs(model: &Path, table: &str, right: usize) {
    let table = fixture("cifar10").join(table);
    let zero_shot = evaluate(&options(model, &table)).unwrap().zero_shot.unwrap();
    let pytorch = pytorchs_answers(&table);
    let same = pytorch.iter().zip(&zero_shot.answers).filter(|(a, b)| **a == zero_shot.labels[**b]).count();
    assert_eq!((same, pytorch.len()), (2000, 2000));
    assert_eq!((zero_shot.top1 * 2000.0).round(), right as f64);
}

/// Converts the demo model's checkpoint.
fn demo_checkpoint(folder: &Path, precision: Precision) -> PathBuf {
    let checkpoint = std::env::var_os("OCELLI_DEMO_CHECKPOINT").expect("OCELLI_DEMO_CHECKPOINT is not set");
    let mut conversion = ConvertOptions::new(checkpoint, folder.join("model.ocelli"), precision);
    if let Some(quantize) = &mut conversion.quantize {
        quantize.pictures = Some(fixture("cifar10"));
    }
    convert(&conversion).unwrap().output
}

#[test]
#[ignore = "needs the demo model's checkpoint, 24 MB, which is not in the repository: its folder in OCELLI_DEMO_CHECKPOINT"]
fn the_demo_model_in_fp32_is_as_accurate_as_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    assert_answers_are_pytorchs(&demo_checkpoint(folder.path(), Precision::Fp32), "predictions.csv", 1321);
}

#[test]
#[ignore = "needs the demo model's checkpoint, 24 MB, which is not in the repository: its folder in OCELLI_DEMO_CHECKPOINT"]
fn the_demo_model_in_auto_keeps_pytorchs_accuracy() {
    let folder = tempfile::tempdir().unwrap();
    let table = fixture("cifar10/predictions.csv");
    let model = demo_checkpoint(folder.path(), Precision::Auto);
    let zero_shot = evaluate(&options(&model, &table)).unwrap().zero_shot.unwrap();
    let pytorch = pytorchs_answers(&table);
    let same = pytorch.iter().zip(&zero_shot.answers).filter(|(a, b)| **a == zero_shot.labels[**b]).count();
    assert!(zero_shot.top1 >= 0.6605 - 0.002, "top-1 {}, PyTorch 0.6605", zero_shot.top1);
    assert!(same >= 1980, "{same} of 2000 answers are PyTorch's");
}

/// The same without the checkpoint: with the values of the int8 weights that are here, in fp32.
#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "takes minutes under an emulator")]
fn the_demo_models_int8_weights_in_fp32_are_as_accurate_as_in_pytorch() {
    let demo =
        Model::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/cifar10/cifar10.ocelli"))
            .unwrap();
    let (file, mut tensors) = (demo.file(), Vec::new());
    for_each_tensor(file.config(), &mut |demand: TensorSpec| {
        let dtype = Dtype::F32;
        tensors.push(Planned { demand, dtype, magnitude: 127, codes: None, payload: None });
        Ok::<(), ()>(())
    })
    .unwrap();
    let contents = Contents {
        config: file.config(),
        tokenizer: file.tokenizer(),
        provenance: "{}",
        bank: None,
        labels: &[],
        tensors: &tensors,
    };
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.ocelli");
    let read: &mut ReadRows<'_> = &mut |i, rows, out| {
        let tensor = file.tensor(tensors[i].demand.name.as_str())?;
        let (payload, k) = (file.payload(&tensor), tensor.k());
        let scales = tensor.entry().scales_offset.saturating_sub(tensor.entry().data_offset) as usize;
        for (row, out) in rows.zip(out.chunks_exact_mut(k)) {
            for (column, out) in out.iter_mut().enumerate() {
                let panels = tensor.layout() == Layout::Panels;
                let at = match tensor.dtype() {
                    _ if !panels => row * k + column,
                    Dtype::I8 => index_i8(row, column, k),
                    _ => index_float(row, column, k),
                };
                let float = |at: usize| f32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
                *out = match tensor.dtype() {
                    Dtype::I8 => f32::from(payload[at] as i8) * float(scales + 4 * row),
                    Dtype::F16 => f16::from_le_bytes([payload[2 * at], payload[2 * at + 1]]).to_f32(),
                    Dtype::F32 => float(4 * at),
                };
            }
        }
        Ok(())
    };
    write(&model, &contents, &mut |_| (), read).unwrap();
    assert_answers_are_pytorchs(&model, "int8_weights.csv", 1318);
}
