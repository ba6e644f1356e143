//! The harness itself, with the program that `./dev` built: what it reports is there, and what it cannot measure it says.
//! Nothing here looks at speed.

use headwater_local::tools::Tools;
use serde_json::Value;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-bench"));
    command.args(arguments).output().expect("the harness is a program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_smoke_run_reports_every_bench() {
    let tools = Tools::load().expect("./dev test writes the tools file");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let json = directory.path().join("results.json");
    let paths = [&tools.server, &json].map(|path| path.to_str().expect("a path of plain characters"));
    let output = bench(&["--smoke", "--markdown", "--server", paths[0], "--json", paths[1]]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let run: Value = serde_json::from_slice(&std::fs::read(&json).expect("it was asked for")).expect("it is JSON");
    assert_eq!(run["settings"]["smoke"], true);
    let benches = run["benches"].as_array().expect("a list");
    let names: Vec<_> = benches.iter().map(|report| report["bench"].as_str().expect("a name")).collect();
    assert_eq!(names, ["get", "set", "visible", "fanout", "apply", "log", "restart", "trim", "crowd"]);
    for report in benches {
        let count = |member: &str| report[member].as_array().expect("a list").len();
        assert!(count("comparisons") + count("figures") > 0, "{report}");
        let table = format!("### {}", report["title"].as_str().expect("a title"));
        assert!(text(&output.stdout).contains(&table), "{}", text(&output.stdout));
    }
    let mut lacking = benches[3]["figures"].as_array().expect("a list").iter();
    let lacking = lacking.find(|figure| figure["name"] == "lines that a stream lacks").expect("the figure");
    assert_eq!(lacking["value"]["most"], 0.0);
}

#[test]
fn the_longest_is_run_when_it_is_named() {
    let tools = Tools::load().expect("./dev test writes the tools file");
    let output = bench(&["--smoke", "--server", tools.server.to_str().expect("a path of plain characters"), "herd"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("until all have it"), "{}", text(&output.stdout));
}

#[test]
fn a_server_that_is_no_program_is_named() {
    let output = bench(&["--smoke", "--server", "/nowhere/headwater", "get"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("/nowhere/headwater is no program"), "{}", text(&output.stderr));
}
