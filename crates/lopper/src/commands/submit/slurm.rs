//! A sweep's workers as a job array of Slurm.

use super::{Job, in_directive, submit_by, threads};
use lopper_core::Result;
use std::path::Path;
use std::process::Command;

/// Seconds before its time limit in which a worker saves what it has. Slurm is up to a minute early.
const NOTICE: u32 = 120;

/// Options by which users say which GPUs they want.
const GPUS: [&str; 4] = ["--gres", "--gpus", "-G", "--tres"];

/// The script that sbatch is given.
pub(super) fn script(job: &Job<'_>) -> String {
    let Job { name, place, logs, workers, environment, .. } = job;
    let named = job.options.iter().any(|option| GPUS.iter().any(|gpus| option.starts_with(gpus)));
    let gpu = if job.gpu && !named { "#SBATCH --gres=gpu:1\n" } else { "" };
    let given = job.given("#SBATCH");
    // In the name of a file, what follows a percent sign means something.
    let logs = logs.to_string_lossy().replace('%', "%%");
    let output = in_directive(&format!("--output={logs}/%A_%a.log"));
    let chdir = in_directive(&format!("--chdir={}", place.display()));
    let of_task = || "${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}".to_owned();
    let threads = threads().map_or_else(of_task, |threads| threads.to_string());
    let (title, last, command) = (job.title(), workers - 1, job.command());
    format!(
        "{title}
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
{gpu}#SBATCH {chdir}
#SBATCH {output}
#SBATCH --open-mode=append
# Before its time limit a task is told to save, and is then queued again.
#SBATCH --signal=B:USR1@{NOTICE}
#SBATCH --requeue{given}

{environment}export OMP_NUM_THREADS={threads}

{command} &
worker=$!
# Slurm tells the shell, and the shell tells the worker, which saves what is under way and ends.
trap 'kill -TERM \"$worker\"' TERM INT
trap 'again=yes; kill -TERM \"$worker\"' USR1
wait \"$worker\"
code=$?
# A signal ends a wait, and not the worker.
while kill -0 \"$worker\" 2>/dev/null; do
  wait \"$worker\"
  code=$?
done
if [ \"$again\" = yes ] && [ \"$code\" -ne 0 ]; then
  exec scontrol requeue \"$SLURM_JOB_ID\"
fi
exit \"$code\"
"
    )
}

/// Submits the script in `path`; returns the job's number.
///
/// # Errors
/// What sbatch said.
pub(super) fn submit(sbatch: &Path, path: &Path) -> Result<String> {
    let hint = |said: &str| {
        said.contains("Invalid job array").then_some(
            "an array has at most MaxArraySize - 1 as its last task, 1000 unless the site sets another (`scontrol show config`): \
             give fewer --workers",
        )
    };
    let answer = submit_by(Command::new(sbatch).arg("--parsable").arg(path), hint)?;
    // A cluster's name may stand behind it.
    Ok(answer.split(';').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;

    #[test]
    fn directives_come_first_and_the_users_last() {
        let options = ["--partition=gpu", "-t", "2:00:00"].map(str::to_owned);
        let script = script(&job(&options));
        let (head, rest) = script.split_once("\n\n").unwrap();
        assert!(head.lines().all(|line| line.starts_with('#')), "{head}");
        let directives: Vec<&str> = head.lines().filter(|line| line.starts_with("#SBATCH")).collect();
        let expected = [
            "#SBATCH --job-name=sweep",
            "#SBATCH --array=0-2",
            "#SBATCH --ntasks=1",
            "#SBATCH --gres=gpu:1",
            "#SBATCH --chdir=\"/home/a b\"",
            "#SBATCH --output=\"/home/a b/runs/50%%/logs/%A_%a.log\"",
            "#SBATCH --open-mode=append",
            "#SBATCH --signal=B:USR1@120",
            "#SBATCH --requeue",
            "#SBATCH --partition=gpu",
            "#SBATCH -t 2:00:00",
        ];
        assert_eq!(directives, expected);
        assert!(!rest.contains("#SBATCH") && rest.contains("unset LD_LIBRARY_PATH\n"), "{rest}");
        let script = super::script(&job(&["--gpus=a100:1".to_owned()]));
        assert!(!script.contains("--gres"), "{script}");
    }
}
