//! Scores that are recorded, replayed, and made into thresholds.

use crate::{RECORDED, SIZE, command, run, scenes};
use serde_json::Value;
use std::fs;

const RULES: &[&str] = &["--smoothing", "0.2", "--min-duration", "0.1", "--cool-down", "0.5"];

#[test]
fn a_replay_has_the_events_of_the_recording_and_others_with_other_thresholds() {
    let folder = tempfile::tempdir().unwrap();
    let scores = folder.path().join("scores");
    let scores = scores.to_str().unwrap();
    let input = scenes(&[("ship", 40), ("horse", 40), ("frog", 40), ("ship", 40)]);
    let live = run(&mut command(&[&["-", "--record", scores], SIZE, RULES, RECORDED]), &input).ok();
    assert!(live.events().len() >= 6, "{}", live.out);
    let replayed = run(&mut command(&[&["--replay", scores], RULES]), b"").ok();
    assert_eq!(replayed.out, live.out);
    replayed.says(&["160 frames"]);
    let strict = run(&mut command(&[&["--replay", scores, "--enter", "2"]]), b"").ok();
    assert_eq!(strict.out, "");
    // The gate passes over frames that show the same: their scores are not in the file again.
    let lines = fs::read_to_string(scores).unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains("\"scores\":[")).count(), 4, "{lines}");
    assert_eq!(lines.lines().count(), 161);
    // The next one does not replace it.
    let next = run(&mut command(&[&["-", "--record", scores], SIZE, RECORDED]), &scenes(&[("ship", 3)])).ok();
    next.says(&["the older recording is now"]);
    assert_eq!(fs::read_to_string(format!("{scores}.1")).unwrap(), lines);
    fs::write(scores, "hello\n").unwrap();
    let wrong = run(&mut command(&[&["--replay", scores]]), b"");
    assert_eq!(wrong.code, Some(1));
    wrong.says(&["line 1"]);
}

/// The truth is that ships are there and horses are there; the thresholds that come out give just these events.
#[test]
fn thresholds_are_found_that_give_the_truth() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (scores, truth, plot) = (path("scores"), path("truth"), path("plot.html"));
    let input = scenes(&[("ship", 50), ("horse", 50), ("frog", 50), ("ship", 50)]);
    run(&mut command(&[&["-", "--record", &scores], SIZE, RECORDED]), &input).ok();
    let lines = [
        r#"{"label":"ship","state":"enter","frame":0}"#,
        r#"{"label":"ship","state":"leave","frame":50}"#,
        r#"{"label":"horse","state":"enter","time":2.0}"#,
        "",
        r#"{"label":"horse","state":"leave","time":4.0}"#,
        r#"{"label":"ship","state":"enter","frame":150}"#,
    ];
    fs::write(&truth, lines.join("\n")).unwrap();
    let rules = &["--smoothing", "0.1", "--min-duration", "0.1"];
    let args = ["--calibrate", &scores, "--truth", &truth, "--plot", &plot];
    let done = run(&mut command(&[&args, rules]), b"").ok();
    let reports: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports.len(), 2, "{}", done.out);
    let mut options = vec!["--replay".to_owned(), scores.clone()];
    for report in &reports {
        assert_eq!((&report["missed"], &report["wrong"]), (&0.into(), &0.into()), "{report}");
        assert!(report["wrong_seconds"].as_f64().unwrap() < 1.0, "{report}");
        options.extend(shlex::split(report["options"].as_str().unwrap()).unwrap());
    }
    for other in ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "truck"] {
        options.extend(["--ignore".to_owned(), other.to_owned()]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let events = run(&mut command(&[&options, rules]), b"").ok().events();
    let kinds: Vec<(&str, &str)> = events.iter().map(|(l, s, _)| (l.as_str(), s.as_str())).collect();
    let horse_and_ship = kinds.iter().filter(|kind| kind.1 == "enter").collect::<Vec<_>>();
    assert_eq!(horse_and_ship, [&("ship", "enter"), &("horse", "enter"), &("ship", "enter")], "{kinds:?}");
    for (_, _, frame) in events.iter().filter(|event| event.1 == "enter") {
        assert!([0..25, 50..75, 150..175].iter().any(|range| range.contains(frame)), "{events:?}");
    }
    let page = fs::read_to_string(&plot).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("class=\"truth\"").count(), 3);
    assert!(!page.contains("http") && !page.contains("<script"), "it needs nothing else");
}

#[test]
fn a_truth_that_cannot_be_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (scores, truth) = (path("scores"), path("truth"));
    run(&mut command(&[&["-", "--record", &scores], SIZE, RECORDED]), &scenes(&[("ship", 3)])).ok();
    for (text, part) in [
        ("hello", "line 1"),
        (r#"{"label":"unicorn","state":"enter","frame":0}"#, "unicorn"),
        (r#"{"label":"ship","state":"leave","frame":0}"#, "has not entered"),
        (r#"{"label":"ship","state":"there","frame":0}"#, "neither"),
        (r#"{"label":"ship","state":"enter"}"#, "a frame or a time"),
        ("", "never there|ever there"),
    ] {
        fs::write(&truth, text).unwrap();
        let wrong = run(&mut command(&[&["--calibrate", &scores, "--truth", &truth]]), b"");
        assert_eq!((wrong.code, wrong.out.as_str()), (Some(1), ""), "{text}: {}", wrong.err);
        assert!(part.split('|').any(|part| wrong.err.contains(part)), "{text}: {}", wrong.err);
        wrong.says(&["truth"]);
    }
}
