//! What was measured when a model was converted, for people.

use serde_json::Value;

/// The record of the conversion: lists become one line per entry, and layers are only
/// listed on request.
pub(super) fn summary(promise: &Value, layers: bool) -> Value {
    let Value::Object(promise) = promise else {
        return "nothing was measured (convert with --precision auto or --calibrate)".into();
    };
    let mut summary = promise.clone();
    let each = |key: &str, name: &str, line: &dyn Fn(&Value) -> String| {
        let entries = promise.get(key).and_then(Value::as_array).into_iter().flatten();
        let entry = |entry: &Value| (entry[name].as_str().unwrap_or("plain").to_owned(), line(entry).into());
        Value::Object(entries.map(entry).collect())
    };
    let steps = each("steps", "repair", &|step| {
        let mean = |tower: &str| {
            step["cosine"][tower]["mean"].as_f64().map_or("-".into(), |mean| format!("{mean:.5}"))
        };
        let kept: Vec<&str> =
            step["kept"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("image cosine {}, text {}, kept for: {}", mean("image"), mean("text"), kept.join(" and "))
    });
    summary.insert("steps".into(), steps);
    let listed = each("layers", "name", &|layer| {
        let snr = layer["snr_db"].as_f64().map_or("-".into(), |snr| format!("{snr:.1} dB"));
        format!("{}, signal-to-noise ratio {snr}", layer["dtype"].as_str().unwrap_or("?"))
    });
    let count = listed.as_object().map_or(0, |layers| layers.len());
    let listed = if layers { listed } else { format!("{count} (list them with --tensors)").into() };
    summary.insert("layers".into(), listed);
    Value::Object(summary)
}
