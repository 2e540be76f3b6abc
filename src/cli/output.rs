//! Where results go: stdout, or a file that only its owner can read. No input is overwritten, no symbolic link followed, and a
//! report that was there before is replaced only by one that is whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

/// The output and how messages name it.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) stream: Box<dyn Write + Send>,
    pub(super) place: Place,
}

/// A file that gets its name once it is whole; nothing for what is written in place.
#[derive(Default)]
pub(super) struct Place(Option<Renaming>);

struct Renaming {
    unfinished: PathBuf,
    name: PathBuf,
}

impl Output {
    /// Written in place.
    pub(super) fn direct(name: &str, stream: Box<dyn Write + Send>) -> Self {
        Self { name: name.to_owned(), stream, place: Place::default() }
    }
}

impl Place {
    /// Gives the file its name.
    pub(super) fn publish(mut self) -> io::Result<()> {
        let Some(Renaming { unfinished, name }) = self.0.take() else { return Ok(()) };
        fs::rename(&unfinished, &name).inspect_err(|_| drop(fs::remove_file(&unfinished)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(renaming) = self.0.take() {
            // What is not whole must not stay. Where it cannot be removed nothing more can be done.
            let _ = fs::remove_file(renaming.unfinished);
        }
    }
}

/// Opens an output that is written while the run goes on, so that others can follow it.
pub(super) fn open(path: Option<&str>, inputs: &[String]) -> Result<Output, Failure> {
    let Some(path) = file_path(path) else { return Ok(Output::direct("stdout", Box::new(io::stdout()))) };
    refuse_inputs(path, inputs)?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.and_then(owner_only).map_err(|error| Failure::unwritable(error, format!("cannot write {path}")))?;
    Ok(Output::direct(path, Box::new(file)))
}

/// Opens an output that is whole at the end of a run: what was there before stays until then. It is opened before the work
/// begins, so that a mistake shows at once.
pub(super) fn open_whole(path: Option<&str>, inputs: &[String]) -> Result<Output, Failure> {
    let Some(path) = file_path(path) else { return Ok(Output::direct("stdout", Box::new(io::stdout()))) };
    refuse_inputs(path, inputs)?;
    let cannot = |error: io::Error| Failure::unwritable(error, format!("cannot write {path}"));
    let is_special = fs::metadata(path).is_ok_and(|there| !there.is_file());
    if is_special || is_device(path) {
        return open(Some(path), inputs);
    }
    if fs::metadata(path).is_ok_and(|there| there.permissions().readonly()) {
        return Err(cannot(io::ErrorKind::PermissionDenied.into()));
    }
    let name = PathBuf::from(path);
    let unfinished = unfinished_name(&name);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).map_err(cannot)?;
    Ok(Output { name: path.to_owned(), stream: Box::new(file), place: Place(Some(Renaming { unfinished, name })) })
}

/// Refuses a place that is an input of the same run, or a symbolic link to a file: who can write the directory would choose what
/// is overwritten.
pub(super) fn refuse_inputs(path: &str, inputs: &[String]) -> Result<(), Failure> {
    if let Some(input) = inputs.iter().find(|input| is_same_file(input, path)) {
        return Err(Failure::usage(
            format!("the output {path} is the input {input}"),
            "name another file: the input would be overwritten",
        ));
    }
    let is_link = fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink());
    let is_special = fs::metadata(path).is_ok_and(|there| !there.is_file());
    if is_link && !is_special && !is_device(path) {
        return Err(Failure::unwritable(io::Error::other("it is a symbolic link"), format!("cannot write {path}")));
    }
    Ok(())
}

/// The name of a file beside `path` that holds what is not whole yet.
pub(super) fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.unfinished", std::process::id()));
    path.with_file_name(name)
}

fn file_path(path: Option<&str>) -> Option<&str> {
    path.filter(|path| *path != "-")
}

/// `/dev/stdout` and the like are links that the system makes.
fn is_device(path: &str) -> bool {
    path.starts_with("/dev/") || path.starts_with("/proc/")
}

/// A file that was there before may be readable by others. What is no regular file stays as it is.
fn owner_only(file: File) -> io::Result<File> {
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Whether two names are one regular file.
pub(super) fn is_same_file(one: &str, other: &str) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.is_file() && one.dev() == other.dev() && one.ino() == other.ino(),
        _ => false,
    }
}
