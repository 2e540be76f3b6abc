//! The blobs of a session that is being written: a folder that gets its name when the conversion is done.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blobs::{Store, Wanted, folder_of, name_of};
use crate::cli::failure::Failure;
use crate::model::Untrusted;

/// The folder of blobs beside an output. What is not published is removed.
pub(super) struct Bodies {
    store: Arc<Store>,
    folder: PathBuf,
    is_published: bool,
}

impl Bodies {
    /// Makes the unfinished folder.
    pub(super) fn create(output: &str, wanted: Wanted, force: bool) -> Result<Self, Failure> {
        if output == "-" {
            return Err(Failure::usage("--bodies writes a folder beside the session, and stdout has none", "name a file"));
        }
        let folder = folder_of(Path::new(output));
        if folder.exists() && !force {
            return Err(Failure::usage(
                format!("{} exists", Untrusted::text(&folder.to_string_lossy())),
                "name another file, or give --force to add to the bodies that are there",
            ));
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(folder.file_name().unwrap_or_default());
        name.push(format!(".{}.unfinished", std::process::id()));
        let store = Store::create(&folder.with_file_name(name), wanted).map_err(|error| unwritable(error, &folder))?;
        Ok(Self { store, folder, is_published: false })
    }

    /// Where they are written to.
    pub(super) const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Gives the folder its name; where a folder of that name is there, the blobs are added to it. With `only`, all others are
    /// left out.
    pub(super) fn publish(mut self, only: Option<&HashSet<[u8; 32]>>) -> Result<(), Failure> {
        if let Some(error) = self.store.take_failure() {
            return Err(unwritable(error, &self.folder));
        }
        self.move_all(only).map_err(|error| unwritable(error, &self.folder))
    }

    fn move_all(&mut self, only: Option<&HashSet<[u8; 32]>>) -> io::Result<()> {
        let from = self.store.folder();
        if let Some(only) = only {
            let names: HashSet<String> = only.iter().map(name_of).collect();
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        if self.folder.exists() {
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                fs::rename(entry.path(), self.folder.join(entry.file_name()))?;
            }
            fs::remove_dir(from)?;
        } else {
            fs::rename(from, &self.folder)?;
        }
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        if !self.is_published {
            // It is a folder that this run made. Where it cannot be removed nothing more can be done.
            let _ = fs::remove_dir_all(self.store.folder());
        }
    }
}

fn unwritable(error: io::Error, folder: &Path) -> Failure {
    Failure::unwritable(error, format!("cannot write bodies to {}", Untrusted::text(&folder.to_string_lossy())))
}
