//! Memory of the host that was freed and is still the process's.

use libloading::os::unix::Library;
use std::ffi::c_int;

/// Gives memory that was freed back to the operating system, where the C library is glibc; elsewhere nothing happens.
///
/// glibc keeps what tensors of some MiB leave behind, and cuts small pieces off it: the next tensor of the size then fits
/// nowhere and is put beside. Called between a phase that freed much and one that allocates much, the two do not add up. It takes
/// milliseconds, and what is used again has to be paged in again, so it is no call for every update.
pub fn return_freed_memory() {
    type Trim = unsafe extern "C" fn(usize) -> c_int;
    let process = Library::this();
    // SAFETY: the declaration is that of glibc's malloc.h; other C libraries have no function of that name.
    let Ok(trim) = (unsafe { process.get::<Trim>(b"malloc_trim\0") }) else { return };
    // SAFETY: any number is allowed, and any thread may call it at any time.
    unsafe { trim(0) };
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    fn holes_are_given_back() {
        // Below the size from which glibc maps each piece for itself, so it stays a hole: those beside it are still in use.
        let piece = 64 << 10;
        let mut pieces: Vec<Vec<u8>> = (0..2048).map(|_| vec![1; piece]).collect();
        let mut number = 0;
        pieces.retain(|_| {
            number += 1;
            number % 2 == 0
        });
        let before = resident();
        return_freed_memory();
        let given_back = before.saturating_sub(resident());
        assert!(given_back > 32 << 20, "{given_back} of 64 MiB");
        assert_eq!(pieces.len(), 1024);
    }
}
