//! Key logs that are followed while programs write them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::model::Secret;

/// Key logs, read on as they grow. One that is not there yet is waited for.
pub(super) struct KeyLogs {
    files: Vec<Followed>,
}

struct Followed {
    path: PathBuf,
    file: Option<File>,
    /// When the file was last written, as far as it was read.
    written: Option<SystemTime>,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl KeyLogs {
    pub(super) fn new(paths: &[String]) -> Self {
        let files = paths
            .iter()
            .map(|path| Followed { path: PathBuf::from(path), file: None, written: None, partial: Vec::new() })
            .collect();
        Self { files }
    }

    /// The names of those that are not there.
    pub(super) fn missing(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().map(|followed| &followed.path).filter(|path| !path.exists())
    }

    /// The whole lines that were written since the last call; never waits.
    pub(super) fn poll(&mut self) -> Vec<Secret> {
        // A log that cannot be read now may be readable later: what stays shut is reported in the end.
        self.files.iter_mut().filter_map(|followed| followed.read_on().ok().flatten()).collect()
    }
}

impl Followed {
    fn read_on(&mut self) -> io::Result<Option<Secret>> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let start = self.partial.len();
        file.by_ref().take(READ_BYTES_MAX).read_to_end(&mut self.partial)?;
        if self.partial.len() == start {
            self.start_again_if_replaced()?;
            return Ok(None);
        }
        self.written = file.metadata()?.modified().ok();
        let Some(end) = memchr::memrchr(b'\n', &self.partial) else {
            if self.partial.len() > LINE_BYTES_MAX {
                self.partial.clear();
            }
            return Ok(None);
        };
        let rest = self.partial.split_off(end + 1);
        Ok(Some(Secret::new(std::mem::replace(&mut self.partial, rest))))
    }

    /// A log is followed by its name: one that was emptied or written anew is read from its start, and one that was removed or rotated
    /// away is given up for the file that has the name now. Lines that come twice do no harm.
    fn start_again_if_replaced(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let read = file.metadata()?;
        if !read.is_file() {
            return Ok(());
        }
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) != (read.dev(), read.ino()) => {
                self.file = None;
                self.written = None;
                self.partial.clear();
            }
            _ if read.len() < file.stream_position()?
                || self.written.is_some_and(|then| read.modified().is_ok_and(|now| now > then)) =>
            {
                self.written = read.modified().ok();
                file.seek(SeekFrom::Start(0))?;
                self.partial.clear();
            }
            _ => {}
        }
        Ok(())
    }
}

/// Bytes read of one log at a time.
const READ_BYTES_MAX: u64 = 4 << 20;

/// A longer line is none of a key log.
const LINE_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn whole_lines_come_once_and_a_log_may_come_late_or_start_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        let mut logs = KeyLogs::new(&[path.to_str().unwrap().to_owned()]);
        let poll = |logs: &mut KeyLogs| {
            logs.poll().iter().map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()).collect::<String>()
        };
        assert_eq!((logs.missing().count(), poll(&mut logs).as_str()), (1, ""));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"A 1 2\nB 3").unwrap();
        assert_eq!((logs.missing().count(), poll(&mut logs).as_str()), (0, "A 1 2\n"));
        assert_eq!(poll(&mut logs), "");
        file.write_all(b" 4\nC").unwrap();
        assert_eq!(poll(&mut logs), "B 3 4\n");
        fs::write(&path, b"D 5\n").unwrap();
        assert_eq!(poll(&mut logs), "", "notices that it was cut");
        assert_eq!(poll(&mut logs), "D 5\n");
    }

    #[test]
    fn a_log_is_followed_by_its_name_also_when_it_is_rotated_or_written_anew_to_the_same_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        fs::write(&path, b"A 1\n").unwrap();
        let mut logs = KeyLogs::new(&[path.to_str().unwrap().to_owned()]);
        let mut found = String::new();
        let mut poll = |logs: &mut KeyLogs| {
            for _ in 0..3 {
                found.extend(logs.poll().iter().map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap()));
            }
            std::mem::take(&mut found)
        };
        assert_eq!(poll(&mut logs), "A 1\n");
        fs::rename(&path, folder.path().join("keys.log.1")).unwrap();
        assert_eq!(poll(&mut logs), "", "nothing has the name");
        fs::write(&path, b"B 2\n").unwrap();
        assert_eq!(poll(&mut logs), "B 2\n", "another file");
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&path, b"C 3\n").unwrap();
        assert_eq!(poll(&mut logs), "C 3\n", "the same length");
    }
}
