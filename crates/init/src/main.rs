//! The initramfs program (`/init`): from the kernel to the verified root, or back to the loader.
//!
//! **Reason to exist.** Somebody has to find, on the disk that was booted and on no other, the slot
//! whose hash tree is the one on the signed command line, put dm-verity over it and hand over. It is
//! one static program without a shell, so that every way in which a start can end is written down
//! here.
//!
//! **Layer.** A program. It knows `core`, and through it `trust` and `payload` (which read the hash
//! tree's superblock), and nothing above.
//!
//! **Must never** use another disk than the one it was booted from; mount a root that dm-verity does
//! not cover; create, grow or rename a file on the ESP; go on after something failed. Whatever fails
//! ends in a kernel panic, so that boot counting does its work, save where a restart would help
//! nobody: then it halts and says why.

mod boot;
mod copies;
mod decide;
mod disk;
mod dm;
mod efi;
mod end;
mod esp;
mod grow;
mod log;
mod modules;
mod mounts;
mod state;
mod switch;
mod trouble;

fn main() -> ! {
    let trouble = match boot::run() {
        Ok(never) => match never {},
        Err(trouble) => trouble,
    };
    end::because(&trouble)
}
