//! A Spark job as its file system makes it: a table is written by tasks, committed by renames, and marked with `_SUCCESS`.
//!
//! S3A renames by HEAD, COPY and DELETE (`S3AFileSystem.rename`, `FileOutputCommitter` algorithm 1). Where a HEAD response names a KMS
//! key, S3A 3.3 puts it into the COPY (`RequestFactoryImpl.copyEncryptionParameters`).

use std::time::Duration;

use crate::lab::client::{Answer, Client, ClientError, Wish};
use crate::lab::tables::elements;
use crate::s3::{encode_path, encode_query};

/// A job.
#[derive(Clone, Copy, Debug)]
pub struct Job<'j> {
    /// The path of the table in the bucket.
    pub table: &'j str,
    /// Tasks, of one file each.
    pub tasks: u32,
    /// The waits before a refused call is tried again. S3A waits minutes; a demonstration need not.
    pub waits: &'j [Duration],
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It makes its folder.
    Setup,
    /// Its tasks write their files.
    Write,
    /// Files are renamed to their place.
    Commit,
    /// The table is read back.
    Read,
}

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It committed, and what was read back is what was written: so many files.
    Works(u32),
    /// It failed.
    Fails {
        /// Where.
        step: Step,
        /// The exception's text, or the status of the response that was not expected.
        reason: String,
    },
}

struct Failure {
    step: Step,
    reason: String,
}

impl Job<'_> {
    /// Runs it.
    pub fn run(&self, client: &mut Client) -> Outcome {
        match self.steps(client) {
            Ok(files) => Outcome::Works(files),
            Err(Failure { step, reason }) => {
                // S3A cleans up what it can, and the job leaves no _SUCCESS.
                let _ = self.clean_up(client);
                Outcome::Fails { step, reason }
            }
        }
    }

    fn steps(&self, client: &mut Client) -> Result<u32, Failure> {
        self.set_up(client).map_err(at(Step::Setup))?;
        for task in 0..self.tasks {
            self.write_task(client, task).map_err(at(Step::Write))?;
        }
        for task in 0..self.tasks {
            self.rename(client, &self.attempt(task), &self.committed(task)).map_err(at(Step::Commit))?;
        }
        for task in 0..self.tasks {
            self.rename(client, &self.committed(task), &self.file(task)).map_err(at(Step::Commit))?;
        }
        self.clean_up(client).map_err(at(Step::Commit))?;
        let success = format!("{}/_SUCCESS", self.table);
        put(client, &success, b"").map_err(at(Step::Commit))?;
        self.read_back(client).map_err(at(Step::Read))
    }

    fn set_up(&self, client: &mut Client) -> Result<(), ClientError> {
        let folder = format!("{}/_temporary/0", self.table);
        for path in [folder.as_str(), self.table] {
            head(client, path)?;
            list(client, &format!("{path}/"), true)?;
        }
        put(client, &format!("{folder}/"), b"")?;
        forget_markers(client, &folder)
    }

    fn write_task(&self, client: &mut Client, task: u32) -> Result<(), ClientError> {
        let path = self.attempt(task);
        head(client, &path)?;
        list(client, &format!("{path}/"), true)?;
        put(client, &path, &content(task))?;
        forget_markers(client, &path)
    }

    /// One file to another place, tried again where the copy is refused.
    fn rename(&self, client: &mut Client, source: &str, target: &str) -> Result<(), ClientError> {
        head(client, source)?;
        head(client, target)?;
        list(client, &format!("{target}/"), true)?;
        head(client, source)?;
        let mut waits = self.waits.iter();
        loop {
            let found = head(client, source)?;
            match copy(client, source, target, &found) {
                Ok(_) => break,
                Err(refused) => match waits.next() {
                    Some(wait) => std::thread::sleep(*wait),
                    None => return Err(refused),
                },
            }
        }
        client.call(Wish { method: "DELETE", key: source, ..Wish::default() })?;
        forget_markers(client, target)
    }

    fn clean_up(&self, client: &mut Client) -> Result<(), ClientError> {
        let folder = format!("{}/_temporary/", self.table);
        head(client, &folder)?;
        let keys = list(client, &folder, false)?;
        delete(client, keys.iter().map(String::as_str))
    }

    fn read_back(&self, client: &mut Client) -> Result<u32, ClientError> {
        let keys = list(client, &format!("{}/", self.table), false)?;
        let mut files = 0;
        for task in 0..self.tasks {
            let file = self.file(task);
            let headers = client.customer_headers(false);
            let answer = client.call(Wish { method: "GET", key: &file, headers, ..Wish::default() })?;
            files += u32::from(keys.contains(&file) && answer.body == content(task));
        }
        Ok(files)
    }

    fn attempt(&self, task: u32) -> String {
        format!("{}/_temporary/0/_temporary/attempt_{JOB}_0001_m_{task:06}_{task}/{}", self.table, name(task))
    }

    fn committed(&self, task: u32) -> String {
        format!("{}/_temporary/0/task_{JOB}_0001_m_{task:06}/{}", self.table, name(task))
    }

    fn file(&self, task: u32) -> String {
        format!("{}/{}", self.table, name(task))
    }
}

fn at(step: Step) -> impl Fn(ClientError) -> Failure {
    move |error| Failure { step, reason: error.to_string() }
}

fn head(client: &mut Client, key: &str) -> Result<Answer, ClientError> {
    let headers = client.customer_headers(false);
    client.call(Wish { method: "HEAD", key, headers, ..Wish::default() })
}

fn put(client: &mut Client, key: &str, body: &[u8]) -> Result<(), ClientError> {
    let mut headers = client.customer_headers(false);
    let kind = if key.ends_with('/') { "application/x-directory" } else { "application/octet-stream" };
    headers.push(("Content-Type", kind.to_owned()));
    expect(client.call(Wish { method: "PUT", key, headers, body, ..Wish::default() })?)
}

/// A copy with the KMS key that the HEAD response named.
fn copy(client: &mut Client, source: &str, target: &str, found: &Answer) -> Result<(), ClientError> {
    let text = |name: &str| found.headers.find(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let mut headers = vec![
        ("x-amz-copy-source", format!("/{}/{}", client.bucket(), String::from_utf8_lossy(&encode_path(source.as_bytes())))),
        ("x-amz-metadata-directive", "REPLACE".to_owned()),
        ("x-amz-copy-source-if-match", text("etag").unwrap_or_default().trim_matches('"').to_owned()),
    ];
    if let Some(key) = text("x-amz-server-side-encryption-aws-kms-key-id") {
        headers.push(("x-amz-server-side-encryption", text("x-amz-server-side-encryption").unwrap_or_default()));
        headers.push(("x-amz-server-side-encryption-aws-kms-key-id", key));
    }
    headers.extend(client.customer_headers(true));
    headers.extend(client.customer_headers(false));
    expect(client.call(Wish { method: "PUT", key: target, headers, ..Wish::default() })?)
}

/// The keys below a prefix; only the first two as a probe.
fn list(client: &mut Client, prefix: &str, is_probe: bool) -> Result<Vec<String>, ClientError> {
    let prefix = String::from_utf8_lossy(&encode_query(prefix.as_bytes())).into_owned();
    let query = match is_probe {
        true => format!("list-type=2&delimiter=%2F&max-keys=2&prefix={prefix}&fetch-owner=false"),
        false => format!("list-type=2&max-keys=5000&prefix={prefix}&fetch-owner=false"),
    };
    let answer = client.call(Wish { method: "GET", query: &query, ..Wish::default() })?;
    Ok(elements(&answer.body, "Key"))
}

/// What S3A does after each write: the markers of all parents are deleted.
fn forget_markers(client: &mut Client, path: &str) -> Result<(), ClientError> {
    let parents: Vec<String> = path.match_indices('/').filter_map(|(at, _)| path.get(..=at).map(str::to_owned)).collect();
    delete(client, parents.iter().map(String::as_str))
}

fn delete<'k>(client: &mut Client, keys: impl Iterator<Item = &'k str>) -> Result<(), ClientError> {
    let objects: String = keys.map(|key| format!("<Object><Key>{}</Key></Object>", quick_xml::escape::escape(key))).collect();
    if objects.is_empty() {
        return Ok(());
    }
    let body = format!("<Delete><Quiet>true</Quiet>{objects}</Delete>").into_bytes();
    let headers = vec![("Content-Type", "application/xml".to_owned())];
    expect(client.call(Wish { method: "POST", query: "delete", headers, body: &body, ..Wish::default() })?)
}

fn expect(answer: Answer) -> Result<(), ClientError> {
    match answer.status {
        200..=299 => Ok(()),
        status => Err(std::io::Error::other(format!("status {status}")).into()),
    }
}

/// Attempts are named after the time at which the job began; here always the same.
const JOB: &str = "202601010000000001";

fn name(task: u32) -> String {
    format!("part-{task:05}-4f6c2a10-7d1e-4b0a-9c55-2f1f3a6f0d42-c000.snappy.parquet")
}

/// What stands for a Parquet file.
fn content(task: u32) -> Vec<u8> {
    [b"PAR1".as_slice(), format!("rows of task {task}\n").repeat(64).as_bytes(), b"PAR1"].concat()
}
