//! A small disk of the test's own: a tmpfs in a mount namespace that a process of no other use holds, so that it
//! outlives a gateway that is killed in there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::support::process::{Process, wait_for};

pub struct Disk {
    holder: Process,
    dir: PathBuf,
}

impl Disk {
    /// One of so many bytes at `dir/name`; `dir` itself is an ordinary directory. Panics where the kernel gives no user
    /// namespace to whoever asks.
    pub fn mount(dir: &Path, name: &str, bytes: u64) -> Disk {
        let at = dir.join(name);
        std::fs::create_dir(&at).unwrap();
        let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && echo mounted && exec sleep infinity");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(&at);
        let mut holder = Process::start(command, &dir.join("holder.log"));
        wait_for("a tmpfs", Duration::from_secs(30), || {
            if let Some(status) = holder.child.try_wait().unwrap() {
                let said = holder.tail();
                panic!("no mount namespace of our own: {said} ({status}); unprivileged user namespaces are needed");
            }
            holder.tail().contains("mounted").then_some(())
        });
        Disk { holder, dir: at }
    }

    /// What starts a program where the disk is mounted, and becomes that program.
    pub fn inside(&self) -> Vec<String> {
        let holder = self.holder.child.id().to_string();
        let enter = ["nsenter", "--user", "--preserve-credentials", "--mount", "--target", &holder];
        enter.map(str::to_owned).to_vec()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes that are left.
    pub fn free(&self) -> u64 {
        let stat = statvfs(self.seen("")).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Another's file takes all but so many bytes, also while others write.
    pub fn fill(&self, but: u64) {
        let stranger = std::fs::OpenOptions::new().create(true).append(true).open(self.seen("stranger")).unwrap();
        while let Some(more) = self.free().checked_sub(but).filter(|more| *more > 0) {
            match fallocate(&stranger, FallocateFlags::empty(), stranger.metadata().unwrap().len(), more) {
                // Somebody took a part of it meanwhile.
                Ok(()) | Err(Errno::NOSPC) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// That file goes.
    pub fn free_again(&self) {
        std::fs::remove_file(self.seen("stranger")).unwrap();
    }

    /// Where a file of it is found from outside.
    fn seen(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.child.id()));
        root.join(self.dir.strip_prefix("/").expect("temporary directories are absolute")).join(name)
    }
}
