//! `ocelli export --parquet`, read by the library that wrote it and by pyarrow.

use super::{World, run};
use crate::example;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

/// An index of three photos, one with a date and one with a name that is not UTF-8, as a table and as a matrix.
fn exported() -> World {
    let world = World::new(&["cat", "ship"]);
    let dated = ocelli_tests::with_exif(&fs::read(example("frog")).unwrap(), 1, "2024:05:01 12:33:07");
    world.put("dated.jpg", &dated);
    fs::rename(
        world.photos().join("cat.jpg"),
        world.photos().join(std::ffi::OsStr::from_bytes(b"caf\xe9.jpg")),
    )
    .unwrap();
    world.index().ok();
    let to = |name: &str| world.0.path().join(name);
    run(world.with("export").arg("--parquet").arg(to("photos.parquet"))).ok();
    run(world.with("export").arg("--npy").arg(to("npy"))).ok();
    world
}

/// The lines of `pictures.jsonl` and the rows of `vectors.npy`.
fn matrix(world: &World) -> Vec<(Value, Vec<f32>)> {
    let folder = world.0.path().join("npy");
    let lines = fs::read_to_string(folder.join("pictures.jsonl")).unwrap();
    let bytes = fs::read(folder.join("vectors.npy")).unwrap()[128..].to_vec();
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let dim = values.len() / lines.len();
    lines.into_iter().zip(values.chunks(dim).map(<[f32]>::to_vec)).collect()
}

/// 1 May 2024, 12:33:07, in microseconds since 1970.
const TAKEN: i64 = 1_714_566_787_000_000;

#[test]
fn a_table_has_a_row_for_each_picture() {
    let world = exported();
    let table =
        SerializedFileReader::new(File::open(world.0.path().join("photos.parquet")).unwrap()).unwrap();
    let rows: Vec<Row> = table.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let expected = matrix(&world);
    assert_eq!((rows.len(), expected.len()), (3, 3));
    for (row, (line, vector)) in rows.iter().zip(&expected) {
        let field = |name: &str| row.get_column_iter().find(|(column, _)| *column == name).unwrap().1;
        let text = |name: &str| match field(name) {
            Field::Str(text) => json!(text),
            Field::Null => Value::Null,
            other => panic!("{other:?}"),
        };
        assert_eq!((text("path"), text("path_bytes")), (line["path"].clone(), line["path_bytes"].clone()));
        assert_eq!((field("width"), field("height")), (&Field::Int(32), &Field::Int(32)));
        let taken = if line["taken"].is_null() { Field::Null } else { Field::TimestampMicros(TAKEN) };
        assert_eq!(field("taken"), &taken);
        assert_eq!(field("bytes"), &Field::Long(line["bytes"].as_i64().unwrap()));
        let Field::Bytes(hash) = field("hash") else { panic!("{:?}", field("hash")) };
        let hex: String = hash.data().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(json!(hex), line["hash"]);
        let Field::ListInternal(list) = field("embedding") else { panic!("{:?}", field("embedding")) };
        let found: Vec<Field> = vector.iter().map(|&x| Field::Float(x)).collect();
        assert_eq!(list.elements(), found);
    }
    assert_eq!(expected.iter().filter(|(line, _)| line["taken"] == json!("2024-05-01 12:33:07")).count(), 1);
    assert_eq!(expected.iter().filter(|(line, _)| line["path_bytes"].is_string()).count(), 1);

    let nowhere = world.0.path().join("none/photos.parquet");
    run(world.with("export").arg("--parquet").arg(&nowhere)).fails(&["none/photos.parquet"]);
    assert_eq!(run(world.with("export").args(["--parquet", "a", "--npy", "b"])).code, Some(2));
}

/// Reads what Python does, and prints the values as JSON.
const READER: &str = r#"
import json, sys
try:
    import pyarrow.parquet
except ImportError:
    sys.exit(77)
table = pyarrow.parquet.read_table(sys.argv[1])
print(json.dumps({
    "types": [str(column.type) for column in table.schema],
    "rows": [[r["path"], r["path_bytes"], r["width"], r["height"], r["taken"] and str(r["taken"]), r["bytes"], r["hash"].hex(),
              r["embedding"]] for r in table.to_pylist()],
}))
"#;

#[test]
fn pyarrow_reads_the_table() {
    let world = exported();
    let file = world.0.path().join("photos.parquet");
    let Some(read) = python(&file) else { return println!("no Python with pyarrow: skipped") };
    let types = ["string", "string", "int32", "int32", "timestamp[us]", "int64", "fixed_size_binary[16]"];
    let mut types: Vec<Value> = types.map(Value::from).into();
    types.push(json!("list<element: float not null>"));
    assert_eq!(read["types"], json!(types));
    let rows = read["rows"].as_array().unwrap();
    let expected = matrix(&world);
    assert_eq!(rows.len(), expected.len());
    for (row, (line, vector)) in rows.iter().zip(&expected) {
        let names = ["path", "path_bytes", "width", "height", "taken", "bytes", "hash"];
        for (value, name) in row.as_array().unwrap().iter().zip(names) {
            assert_eq!(value, &line[name], "{name}");
        }
        let found: Vec<f32> = row[7].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!(&found, vector);
    }
}

/// What [`READER`] prints; nothing where there is no Python, or none with pyarrow.
fn python(file: &Path) -> Option<Value> {
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).args(["-c", READER]).arg(file).output().ok()?;
    if output.status.code() == Some(77) {
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
