//! Which device to compute on, and which libtorch computes.

use crate::ffi::{self, check, take_text};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use lopper_core::{Error, Result};
use std::error::Error as _;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tch::Device;

/// The device of that name: `cpu`, `cuda` (the first GPU), `cuda:N`, or `auto` (the first GPU if there is a usable one,
/// else the CPU).
///
/// CUDA is loaded here and nowhere else, and libtorch remembers whether it found CUDA when first asked: call this before
/// any other CUDA query and before seeding.
///
/// # Errors
/// [`Error::InvalidValue`] for another name, [`Error::Device`] saying why the GPU that was asked for cannot be used.
pub fn resolve_device(name: &str) -> Result<Device> {
    let Some(index) = gpu_named(name)? else {
        if name == "cpu" {
            return Ok(Device::Cpu);
        }
        return Ok(cuda_devices(name).map_or_else(
            |reason| {
                tracing::debug!("auto chooses the CPU: {reason}");
                Device::Cpu
            },
            |_| Device::Cuda(0),
        ));
    };
    let refused = |reason: &str| Error::Device { name: name.to_owned(), reason: reason.to_owned() };
    match cuda_devices(name).map_err(|reason| refused(&reason))? {
        count if index < count => Ok(Device::Cuda(index)),
        1 => Err(refused("this machine has one usable GPU, cuda:0")),
        count => Err(refused(&format!("this machine has {count} usable GPUs, cuda:0 to cuda:{}", count - 1))),
    }
}

/// The number of the GPU that a device's name asks for, whether this machine has it or not; `None` for `cpu` and `auto`.
///
/// # Errors
/// [`Error::InvalidValue`] for a name that [`resolve_device`] does not know.
pub fn gpu_named(name: &str) -> Result<Option<usize>> {
    let index = match name {
        "cpu" | "auto" => return Ok(None),
        "cuda" => Some(0),
        _ => name.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
    };
    index
        .map(Some)
        .ok_or_else(|| Error::invalid("device", format!("{name:?}"), "auto, cpu, cuda, or cuda:N for GPU number N"))
}

/// What [`resolve_device`] calls a device: `cpu`, `cuda:0`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("{}:{index}", device_kind(device)),
        Device::Cpu | Device::Mps | Device::Vulkan => device_kind(device).to_owned(),
    }
}

/// `cpu`, `cuda` and so on, without an index.
pub fn device_kind(device: Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Mps => "mps",
        Device::Vulkan => "vulkan",
    }
}

/// The number of usable GPUs, at least one, or why there is none.
fn cuda_devices(name: &str) -> Result<usize, String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load_cuda).clone()?;
    let mut count = 0;
    // SAFETY: a place for the result.
    check(unsafe { ffi::lopper_cuda_device_count(&mut count) }).map_err(|e| format!("counting GPUs failed: {e}"))?;
    tracing::debug!("{name}: {count} GPUs");
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("no NVIDIA GPU with a working driver was found".into()),
    }
}

/// Loads libtorch_cuda, which registers the CUDA backend: binaries are not linked against it, so that they start fast
/// and run on a libtorch without it.
fn load_cuda() -> Result<(), String> {
    const FILE: &str = "libtorch_cuda.so";
    let beside = libtorch_directory().map(|directory| directory.join(FILE)).filter(|file| file.is_file());
    let file = beside.unwrap_or_else(|| PathBuf::from(FILE));
    // SAFETY: libtorch's own library; its initialisers register backends and are made to run at load time.
    match unsafe { Library::open(Some(&file), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            // Unloading would leave libtorch with dangling registrations.
            std::mem::forget(library);
            Ok(())
        }
        // libloading's own text is only "dlopen failed"; the linker's is its source.
        Err(error) => {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Err(format!("{FILE} cannot be loaded ({reason})"))
        }
    }
}

/// Bytes that can still be allocated on a GPU, by whichever process; `None` for the CPU, and where the CUDA runtime does not
/// tell. Memory that libtorch has reserved and not used counts as taken.
pub fn free_device_memory(device: Device) -> Option<u64> {
    type Pick = unsafe extern "C" fn(c_int) -> c_int;
    type Ask = unsafe extern "C" fn(*mut usize, *mut usize) -> c_int;
    let Device::Cuda(index) = device else { return None };
    // libtorch_cuda brought the runtime along, among the symbols of the whole process.
    let process = Library::this();
    // SAFETY: the declarations are those of the CUDA runtime, unchanged since its first version.
    let (pick, ask) =
        unsafe { (process.get::<Pick>(b"cudaSetDevice\0").ok()?, process.get::<Ask>(b"cudaMemGetInfo\0").ok()?) };
    let (mut free, mut total) = (0, 0);
    // SAFETY: a GPU's number, and places for two results. libtorch sets the device before every call of its own.
    let told = unsafe { pick(c_int::try_from(index).ok()?) == 0 && ask(&mut free, &mut total) == 0 };
    tracing::debug!(free, total, "memory of cuda:{index}");
    told.then_some(free as u64)
}

fn libtorch_directory() -> Option<PathBuf> {
    // SAFETY: no arguments; the text is taken over.
    let file = take_text(unsafe { ffi::lopper_libtorch_file() })?;
    Path::new(&file).parent().map(Into::into)
}

/// The version of the libtorch that is loaded, such as `2.11.0`.
pub fn libtorch_version() -> String {
    // SAFETY: no arguments; reads a constant.
    let [major, minor, patch, ..] = unsafe { ffi::lopper_libtorch_version() }.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_device_are_refused() {
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let error = resolve_device(name).unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")) && error.contains("auto, cpu, cuda"), "{error}");
        }
    }

    #[test]
    fn auto_and_cuda_agree() {
        assert_eq!(resolve_device("cpu").unwrap(), Device::Cpu);
        assert_eq!([Device::Cpu, Device::Cuda(2)].map(device_name), ["cpu", "cuda:2"]);
        match resolve_device("cuda:0") {
            Ok(device) => {
                assert_eq!(device, Device::Cuda(0));
                assert_eq!(resolve_device("auto").unwrap(), device);
                assert_eq!(resolve_device("cuda").unwrap(), device);
            }
            Err(error) => {
                assert_eq!(resolve_device("auto").unwrap(), Device::Cpu);
                let text = error.to_string();
                assert!(!text.contains("dlopen failed"), "{text}");
                assert!(
                    text.starts_with("cuda:0 was asked for, but ") && text.ends_with("use device = \"cpu\""),
                    "{text}"
                );
            }
        }
        assert!(resolve_device("cuda:4096").is_err());
    }

    #[test]
    fn a_gpu_tells_its_memory() {
        assert_eq!(free_device_memory(Device::Cpu), None);
        if let Ok(device) = resolve_device("cuda") {
            assert!(free_device_memory(device).is_some_and(|free| free > 1 << 20));
        }
    }

    #[test]
    fn libtorch_is_known_by_version_and_place() {
        assert_eq!(libtorch_version().split('.').count(), 3);
        assert!(libtorch_directory().unwrap().is_dir());
    }
}
