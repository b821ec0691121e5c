//! What Lopper is measured against, in a virtual environment of its own.

use super::Setting;
use crate::checkout::{Checkout, line, output, run};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = ".bench-venv";
const PACKAGES: [(&str, &str); 3] = [("torch", "2.11.0"), ("transformers", "4.57.1"), ("accelerate", "1.11.0")];

/// The installed references.
pub(crate) struct References {
    python: PathBuf,
    scripts: PathBuf,
    threads: usize,
    setting: Setting,
}

impl References {
    /// Installs what is not there yet. The wheel of torch drags in CUDA's libraries, 5 GB, without which its Python half
    /// cannot be imported.
    ///
    /// # Errors
    /// No Python, or one that the packages are not made for; no package index.
    pub(crate) fn ensure(checkout: &Checkout, threads: usize, setting: &Setting) -> Result<Self> {
        let folder = checkout.path(FOLDER);
        let python = folder.join("bin/python");
        let references =
            Self { python, scripts: checkout.path("benches/reference"), threads, setting: setting.clone() };
        let wanted: BTreeMap<String, String> = PACKAGES.map(|(name, v)| (name.into(), v.into())).into();
        if references.versions().is_ok_and(|installed| installed == wanted) {
            return Ok(references);
        }
        let mut venv = Command::new("python3");
        run(venv.args(["-m", "venv"]).arg(&folder)).context("`sudo apt-get install python3-venv` may be missing")?;
        let mut pip = Command::new(&references.python);
        pip.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check"]);
        pip.args(PACKAGES.map(|(name, version)| format!("{name}=={version}")));
        println!("$ {}", line(&pip));
        run(&mut pip)?;
        Ok(references)
    }

    /// What an interpreter of the user's has installed, in whatever version.
    ///
    /// # Errors
    /// When one of the packages is not there.
    pub(crate) fn of(python: &Path, checkout: &Checkout, threads: usize, setting: &Setting) -> Result<Self> {
        let scripts = checkout.path("benches/reference");
        let references = Self { python: python.to_owned(), scripts, threads, setting: setting.clone() };
        references
            .versions()
            .with_context(|| format!("{}: no torch, transformers and accelerate", python.display()))?;
        Ok(references)
    }

    /// Versions of the packages that are installed.
    ///
    /// # Errors
    /// When one of them is not.
    pub(crate) fn versions(&self) -> Result<BTreeMap<String, String>> {
        let names: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).collect();
        let program =
            "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))";
        let mut python = Command::new(&self.python);
        let stdout = output(python.args(["-c", program]).args(names).stderr(std::process::Stdio::null()))?;
        Ok(serde_json::from_str(&stdout)?)
    }

    /// A script of `benches/reference`, on as many threads as Lopper, on its device and in its precision. Which GPU of
    /// several `cuda:0` is, CUDA_VISIBLE_DEVICES tells both sides.
    pub(crate) fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join(name)).env("PYTHONDONTWRITEBYTECODE", "1");
        command.args(["--threads", &self.threads.to_string()]);
        command.args(["--device", &self.setting.device, "--precision", &self.setting.precision]);
        command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
        if !self.setting.is_gpu() {
            command.env("CUDA_VISIBLE_DEVICES", "");
        }
        with_threads(&mut command, self.threads);
        command
    }
}

/// Limits every pool of threads that either side has.
pub(crate) fn with_threads(command: &mut Command, threads: usize) {
    for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
        command.env(variable, threads.to_string());
    }
}
