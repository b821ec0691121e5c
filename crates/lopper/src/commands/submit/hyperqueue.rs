//! A sweep's workers as a task array of HyperQueue.

use super::{Job, in_directive, submit_by, threads};
use lopper_core::Result;
use std::path::Path;
use std::process::Command;

/// The script that hq is given, with directives as its documentation has them (docs/jobs/directives.md, arrays.md and
/// resources.md of HyperQueue 0.27).
pub(super) fn script(job: &Job<'_>) -> String {
    let Job { name, place, logs, workers, environment, .. } = job;
    let named = job.options.iter().any(|option| option.contains("gpus/"));
    let gpu = if job.gpu && !named { "#HQ --resource=gpus/nvidia=1\n" } else { "" };
    let given = job.given("#HQ");
    let cwd = in_directive(&format!("--cwd={}", place.display()));
    let log = |stream: &str| {
        let path = format!("{}/%{{JOB_ID}}_%{{TASK_ID}}.%{{INSTANCE_ID}}.{stream}", logs.display());
        in_directive(&format!("--std{stream}={path}"))
    };
    let (stdout, stderr) = (log("out"), log("err"));
    // HyperQueue sets it to the CPUs that it gives a task.
    let threads = threads().map(|threads| format!("export OMP_NUM_THREADS={threads}\n")).unwrap_or_default();
    let (title, last, command) = (job.title(), workers - 1, job.command());
    format!(
        "{title}
#HQ --name={name}
#HQ --array=0-{last}
{gpu}#HQ {cwd}
#HQ {stdout}
#HQ {stderr}{given}

{environment}{threads}
exec {command}
"
    )
}

/// Submits the script in `path`; returns the job's number.
///
/// # Errors
/// What hq said.
pub(super) fn submit(hq: &Path, path: &Path) -> Result<String> {
    // A worker of another machine knows no paths relative to this process.
    let path = std::path::absolute(path).map_err(|e| lopper_core::Error::file(path, e))?;
    submit_by(Command::new(hq).args(["--output-mode=quiet", "submit", "--directives=file"]).arg(path), |_| None)
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    #[test]
    fn directives_are_those_of_the_documentation() {
        let options = ["--time-request=10m", "--cpus=4"].map(str::to_owned);
        let script = script(&job(&options));
        let directives: Vec<&str> = script.lines().filter(|line| line.starts_with("#HQ ")).collect();
        let expected = [
            "#HQ --name=sweep",
            "#HQ --array=0-2",
            "#HQ --resource=gpus/nvidia=1",
            "#HQ --cwd=\"/home/a b\"",
            "#HQ --stdout=\"/home/a b/runs/50%/logs/%{JOB_ID}_%{TASK_ID}.%{INSTANCE_ID}.out\"",
            "#HQ --stderr=\"/home/a b/runs/50%/logs/%{JOB_ID}_%{TASK_ID}.%{INSTANCE_ID}.err\"",
            "#HQ --time-request=10m",
            "#HQ --cpus=4",
        ];
        assert_eq!(directives, expected);
        assert!(script.ends_with("exec '/opt/it'\\''s/lopper' work 'runs/50%'\n"), "{script}");
    }
}
