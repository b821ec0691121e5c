//! The checkout this tool works on: its paths, its lock files, and `cargo` as a user would start it.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A checkout of Lopper.
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout whose `cargo xtask` is running.
    pub(crate) fn find() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .with_context(|| format!("{}: not crates/xtask of a checkout", manifest.display()))?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// The top folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path within the checkout.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Where every build of this checkout looks for libtorch.
    pub(crate) fn libtorch(&self) -> PathBuf {
        self.path(".libtorch/torch")
    }

    /// The user's LIBTORCH. `.cargo/config.toml` gives LIBTORCH to every process that cargo starts, this one included;
    /// that value is ours.
    pub(crate) fn user_libtorch(&self) -> Option<PathBuf> {
        let value = std::path::absolute(std::env::var_os("LIBTORCH")?).ok()?; // none when empty
        (value != self.libtorch()).then_some(value)
    }

    /// `cargo` with the environment of the user's shell: what the outer cargo added for this process would otherwise
    /// change what the inner one fingerprints, and rebuild C++ for minutes.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
    }

    /// Another program with that environment: `cargo` of the user's path, which knows other toolchains.
    pub(crate) fn program<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut cargo = Command::new(program);
        cargo.current_dir(&self.root).args(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        match self.user_libtorch() {
            Some(directory) => cargo.env("LIBTORCH", directory),
            None => cargo.env_remove("LIBTORCH"),
        };
        cargo
    }

    /// Holds `folder`, made if need be, against other set-ups of the same checkout until the result is dropped.
    /// Waits for one that is under way.
    pub(crate) fn lock(&self, folder: &Path) -> Result<File> {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        let path = folder.join(".lock");
        let file = File::create(&path).with_context(|| format!("{}: cannot be made", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                println!("waiting for another set-up of {}", folder.display());
                file.lock().with_context(|| format!("{}: cannot be locked", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{}: cannot be locked", path.display()));
            }
        }
        Ok(file)
    }
}

/// A folder that is filled beside its final place, on the same disk, and removed again unless it is put there.
pub(crate) struct Partial {
    path: PathBuf,
}

impl Partial {
    /// An empty `.partial` within `parent`, whose lock the caller holds; what an interrupted set-up left goes away.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        let path = parent.join(".partial");
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
        }
        for folder in ["content", "tmp"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        }
        Ok(Self { path })
    }

    /// What will be put in place.
    pub(crate) fn content(&self) -> PathBuf {
        self.path.join("content")
    }

    /// Room for temporary files.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Moves the content to `target`, in the place of what is there.
    pub(crate) fn put(self, target: &Path) -> Result<()> {
        // Of a link, this removes the link alone.
        if target.symlink_metadata().is_ok() {
            fs::remove_dir_all(target).with_context(|| format!("{}: cannot be replaced", target.display()))?;
        }
        fs::rename(self.content(), target).with_context(|| format!("{}: cannot be put there", target.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Left behind only where removal itself fails; the next set-up tries again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Runs a command to its end with its output on the terminal.
///
/// # Errors
/// When it cannot be started or ends with another status than 0; the message is the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output; standard error stays on the terminal.
///
/// # Errors
/// As [`run`].
pub(crate) fn output(command: &mut Command) -> Result<String> {
    output_later(command.stderr(std::process::Stdio::inherit()))
}

/// The standard output of a command that succeeds. What it says on standard error is shown when it has ended, unless that
/// goes elsewhere.
///
/// # Errors
/// When it cannot be started, fails, or writes something that is not text.
pub(crate) fn output_later(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", line(command)))?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("`{}` failed ({})", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote no UTF-8", line(command)))
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_set_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let partial = Partial::new(folder.path()).unwrap();
        fs::write(partial.content().join("half"), "x").unwrap();
        std::mem::forget(partial);

        let partial = Partial::new(folder.path()).unwrap();
        assert!(!partial.content().join("half").exists(), "the leftover of a killed set-up is swept");
        drop(partial);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a failed set-up removes its own");
    }

    #[test]
    fn content_takes_the_place_of_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "x").unwrap();
        let partial = Partial::new(folder.path()).unwrap();
        fs::write(partial.content().join("new"), "x").unwrap();
        partial.put(&target).unwrap();
        assert!(target.join("new").exists() && !target.join("old").exists());
        assert!(!folder.path().join(".partial").exists());
    }
}
