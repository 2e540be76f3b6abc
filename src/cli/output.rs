//! Where results go: stdout, or a file that only its owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

use crate::cli::failure::Failure;

/// The output and how messages name it.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) stream: Box<dyn Write + Send>,
}

/// Opens the output before the work begins, so that a mistake shows at once.
pub(super) fn open(path: Option<&str>, inputs: &[String]) -> Result<Output, Failure> {
    let Some(path) = path.filter(|path| *path != "-") else {
        return Ok(Output { name: "stdout".to_owned(), stream: Box::new(io::stdout()) });
    };
    if let Some(input) = inputs.iter().find(|input| is_same_file(input, path)) {
        return Err(Failure::usage(
            format!("the output {path} is the input {input}"),
            "name another file with -o: the input would be overwritten",
        ));
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.and_then(owner_only).map_err(|error| Failure::unwritable(error, format!("cannot write {path}")))?;
    Ok(Output { name: path.to_owned(), stream: Box::new(file) })
}

/// A file that was there before may be readable by others. What is no regular file stays as it is.
fn owner_only(file: File) -> io::Result<File> {
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn is_same_file(one: &str, other: &str) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.is_file() && one.dev() == other.dev() && one.ino() == other.ino(),
        _ => false,
    }
}
