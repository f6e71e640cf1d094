use libtest_mimic::{Failed, Trial};
use polyselect::Backend;

use crate::support::example;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("compare::measures_every_model_and_draws_it", measures_every_model)]
}

fn measures_every_model() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let chart = folder.path().join("chart.svg");
    let mut command = example("compare");
    command.args(["--clients", "1,8", "--requests", "2000", "--chart"]).arg(&chart);
    command.args(["--rounds", "3"]);
    let output = command.output()?;
    let table = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    let drawn = std::fs::read_to_string(chart)?;
    let models = ["process a client", "thread a client", "busy polling", "event loop on epoll"];
    let mechanisms = Backend::available().map(Backend::name);
    for model in models.into_iter().chain(mechanisms) {
        let rows: Vec<_> = table.lines().filter(|line| line.starts_with(model)).collect();
        assert_eq!(rows.len(), 2, "{model}: {table}");
        for row in rows {
            let time: f64 =
                row[model.len()..].split_whitespace().nth(1).ok_or("a time")?.parse()?;
            assert!(time > 0.0, "{row}");
        }
        assert!(drawn.contains(&format!(">{model}</text>")), "{model}: {drawn}");
    }
    Ok(())
}
